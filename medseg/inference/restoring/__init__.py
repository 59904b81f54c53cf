"""From logits on the network's grid to classes on the scan's."""
