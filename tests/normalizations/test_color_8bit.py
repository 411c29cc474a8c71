"""8-bit Lab against numbers that OpenCV 4.11 gave, and against scikit-image rounded by hand."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab

from unshift.normalizations.color_8bit import lab_8bit_to_rgb, rgb_to_lab_8bit
from unshift.normalizations.color_methods import color_method

OPENCV = np.array(
    [
        [0, 0, 0, 0, 128, 128, 0, 0, 0],
        [255, 255, 255, 255, 128, 128, 255, 255, 255],
        [255, 0, 0, 136, 208, 195, 255, 2, 1],
        [0, 255, 0, 224, 42, 211, 7, 255, 3],
        [0, 0, 255, 82, 207, 20, 0, 1, 255],
        [255, 255, 0, 248, 106, 223, 255, 255, 0],
        [0, 255, 255, 233, 80, 114, 12, 255, 255],
        [255, 0, 255, 154, 226, 67, 255, 5, 255],
        [1, 1, 1, 1, 128, 128, 2, 2, 2],
        [10, 10, 10, 7, 128, 128, 10, 10, 10],
        [127, 127, 127, 136, 128, 128, 127, 127, 127],
        [128, 128, 128, 137, 128, 128, 128, 128, 128],
        [200, 120, 90, 149, 156, 158, 200, 120, 89],
        [171, 206, 5, 198, 95, 205, 170, 206, 2],
        [206, 120, 131, 153, 163, 137, 206, 120, 130],
        [161, 73, 250, 130, 195, 54, 160, 74, 250],
        [13, 71, 98, 72, 120, 107, 8, 72, 99],
        [146, 104, 33, 120, 138, 172, 146, 104, 34],
        [11, 0, 12, 2, 134, 124, 13, 0, 13],
        [38, 255, 48, 225, 45, 205, 41, 255, 47],
        [167, 192, 60, 188, 102, 189, 168, 192, 59],
        [72, 111, 67, 110, 105, 148, 73, 111, 68],
        [249, 45, 229, 152, 217, 80, 249, 44, 230],
        [204, 216, 29, 212, 104, 207, 204, 217, 29],
        [100, 160, 126, 156, 101, 140, 101, 160, 126],
        [170, 173, 169, 180, 126, 130, 170, 174, 169],
        [15, 245, 142, 219, 57, 164, 10, 246, 143],
        [231, 69, 92, 138, 191, 152, 231, 69, 92],
        [225, 47, 16, 127, 194, 186, 226, 47, 16],
        [95, 173, 31, 163, 81, 187, 94, 174, 32],
        [222, 87, 58, 140, 179, 171, 222, 88, 59],
        [139, 229, 226, 218, 100, 121, 138, 229, 226],
        [223, 78, 4, 135, 182, 191, 222, 78, 2],
        [199, 181, 197, 193, 137, 122, 199, 181, 198],
        [0, 9, 128, 36, 172, 65, 0, 9, 128],
        [85, 111, 238, 131, 158, 61, 86, 111, 238],
        [52, 135, 83, 128, 91, 149, 54, 135, 82],
        [75, 206, 39, 187, 64, 194, 73, 206, 37],
        [81, 30, 38, 49, 153, 134, 81, 30, 39],
        [71, 178, 148, 168, 90, 134, 70, 178, 148],
        [114, 43, 204, 95, 189, 58, 114, 43, 203],
        [204, 60, 15, 120, 183, 182, 204, 60, 17],
        [81, 37, 204, 84, 188, 50, 82, 37, 205],
        [133, 129, 74, 136, 121, 158, 133, 130, 75],
        [129, 247, 60, 224, 65, 202, 129, 247, 59],
        [196, 3, 80, 107, 196, 142, 197, 3, 80],
        [238, 223, 21, 223, 115, 213, 238, 223, 19],
        [215, 216, 116, 215, 114, 177, 215, 216, 115],
        [94, 250, 243, 231, 86, 119, 95, 250, 244],
        [173, 102, 53, 128, 152, 167, 172, 102, 53],
        [239, 68, 142, 144, 198, 126, 239, 67, 141],
        [172, 61, 80, 108, 175, 141, 172, 61, 81],
        [189, 50, 172, 120, 195, 93, 189, 50, 172],
        [241, 175, 165, 197, 151, 143, 241, 175, 164],
        [118, 247, 56, 223, 62, 202, 119, 247, 58],
        [91, 164, 167, 161, 106, 119, 91, 164, 168],
        [27, 41, 177, 68, 173, 56, 25, 41, 177],
        [215, 162, 238, 188, 161, 97, 215, 162, 238],
        [96, 84, 204, 110, 165, 67, 95, 85, 204],
        [10, 49, 49, 46, 114, 124, 6, 50, 49],
    ]
)
"""R, G, B; cv2.cvtColor(…, COLOR_RGB2LAB); cv2.cvtColor(that, COLOR_LAB2RGB)."""


def columns(start: int) -> torch.Tensor:
    return torch.from_numpy(OPENCV[:, start : start + 3].T.copy()).int()[None, :, None]


def test_lab_is_opencvs() -> None:
    assert torch.equal(rgb_to_lab_8bit(columns(0)), columns(3))


def test_the_way_back_is_opencvs_to_two_levels() -> None:
    difference = (lab_8bit_to_rgb(columns(3)) - columns(6)).abs()
    assert difference.max() <= 2 and (difference > 0).float().mean() < 0.12


def test_lab_is_scikit_images_rounded() -> None:
    levels = torch.randint(0, 256, (1, 3, 40, 50), generator=torch.Generator().manual_seed(0)).int()
    lab = rgb2lab(levels[0].numpy() / 255, channel_axis=0)
    expected = np.stack([lab[0] * 2.55, lab[1] + 128, lab[2] + 128])
    difference = np.abs(rgb_to_lab_8bit(levels)[0].numpy() - expected)
    assert difference.max() < 2 and (difference < 0.6).mean() > 0.96  # dark light has few bits


def test_the_transfer_by_hand() -> None:
    """What the authors' code does: BGR2LAB of RGB, moments in floats, cut off to 8 bits, and LAB2BGR."""
    generator = torch.Generator().manual_seed(0)
    image, other = (torch.rand(1, 3, 30, 30, generator=generator) * 0.5 + k for k in (0.1, 0.3))
    method = color_method("lab_8bit")

    def lab(x: torch.Tensor) -> np.ndarray:
        return rgb_to_lab_8bit((x.flip(1) * 255).round().int())[0].numpy().astype(float)

    source, target = lab(image), lab(other)
    axes = (1, 2)
    moved = (source - source.mean(axes, keepdims=True)) / source.std(axes, keepdims=True)
    moved = moved * target.std(axes, keepdims=True) + target.mean(axes, keepdims=True)
    wanted = lab_8bit_to_rgb(torch.from_numpy(np.clip(moved + 1e-3, 0, 255).astype(np.uint8)).int()[None]).flip(1)
    found = method.transfer(image, method.statistics(other)) * 255
    assert (found - wanted).abs().max() <= 2 and ((found - wanted).abs() > 0.01).float().mean() < 0.001
    torch.testing.assert_close(found, found.round(), atol=1e-4, rtol=0)


def test_exchanging_red_and_blue_matters() -> None:
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.2
    other = image * torch.tensor([1.0, 0.6, 0.4]).view(1, 3, 1, 1)
    method, right = color_method("lab_8bit"), color_method("lab")
    difference = method.transfer(image, method.statistics(other)) - right.transfer(image, right.statistics(other))
    assert 1 / 255 < difference.abs().max() < 0.2


def test_onto_itself_an_image_is_what_8_bits_leave_of_it() -> None:
    image = torch.randint(0, 256, (1, 3, 30, 30), generator=torch.Generator().manual_seed(1)) / 255
    method = color_method("lab_8bit")
    levels = (image.flip(1) * 255).round().int()
    expected = lab_8bit_to_rgb(rgb_to_lab_8bit(levels)).flip(1) / 255
    torch.testing.assert_close(method.transfer(image, method.statistics(image)), expected)
