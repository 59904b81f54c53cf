"""Published networks that MONAI does not have: tensors in, logits out."""

from medseg.networks.brain_unet import BrainUNet, as_two_channels, published_weights
from medseg.networks.carvana_unet import CarvanaUNet
from medseg.networks.multires_unet import MultiResUNet
from medseg.networks.padded_unet import PaddedUNet
from medseg.networks.unet2015 import UNet2015
from medseg.networks.vgg_unet import VGG16UNet

__all__ = [
    "BrainUNet",
    "CarvanaUNet",
    "MultiResUNet",
    "PaddedUNet",
    "UNet2015",
    "VGG16UNet",
    "as_two_channels",
    "published_weights",
]
