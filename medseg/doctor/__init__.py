"""What this machine can do, and the mend for each thing that stands in the way."""

from __future__ import annotations

from medseg.doctor.decoders import dicom_decoders
from medseg.doctor.finding import Finding
from medseg.doctor.machine import disk, memory
from medseg.doctor.tracking_store import tracking_store
from medseg.doctor.versions import package_versions, python_version

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Look at everything, in the order it is best read in; takes some seconds."""
    findings = [python_version(), package_versions(), memory(), disk()]
    try:
        from medseg.doctor import computing  # here, since a torch that does not load is a finding
    except (ImportError, OSError) as error:
        reason = str(error).partition("\n")[0]
        findings.append(Finding("torch", f"does not load: {reason}", "install torch again", broken=True))
    else:
        findings += [computing.gpu(), computing.bf16(), *map(computing.conv3d, computing.devices())]
    return [*findings, dicom_decoders(), tracking_store()]
