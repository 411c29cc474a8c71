"""AdaIN units: weight and bias are the channel deviation and mean of source features; nothing is trained.

Huang & Belongie, ICCV 2017; as S- and M-AdaINSeg in Liu et al., ISBI 2021 (arXiv 2101.03711). It is also the exact
optimum of the objective by which that paper trains DIN (``plugins.din``). Needs unlabeled source images, no content.

Deviations. AdaIN restyles with one style image; here the statistics of all are averaged (``style: single`` is the
original's). The original takes the unbiased variance, DIN's authors do not say; ours is biased, as in instance
normalization. Statistics stay inside the field of view. Which style images are used, the paper leaves open.

Verified: means and deviations after a unit are the source's; arithmetic against PyTorch's instance normalization.
"""

from __future__ import annotations

from collections.abc import Sequence

from unshift.contracts import Network
from unshift.plugins.frozen import style_statistics
from unshift.plugins.units import Style, StyleUnits
from unshift.sample import Sample


class AdaIN(StyleUnits):
    """Units whose weight is the standard deviation, and bias the mean, of the source's features."""

    def bank(
        self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, taps: Sequence[int], seed: int
    ) -> Sequence[Style]:
        """Deviation and mean of every channel of every style image."""
        found = style_statistics(network, style, field_of_view=self.config.field_of_view)
        return [Style(weights=found[i][1], biases=found[i][0]) for i in taps]


MEMBER = AdaIN
