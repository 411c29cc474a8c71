from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import foreign_networks
from foreign_networks import Residual, Student
from unshift.config import MemberRef, parse
from unshift.errors import BundleError, ConfigError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.own import MEMBER, Own, OwnConfig, own_network, unwrapped_names
from unshift.networks.pretrained import from_scratch
from unshift.sample import Task
from unshift.weights import load_exactly

TASK = Task(3, ("background", "organ"))
THREE = Task(3, ("background", "rim", "cup"))


def image(*shape: int) -> Tensor:
    return torch.rand(*(shape or (2, 3, 32, 48)), generator=torch.Generator().manual_seed(0))


def configured(**settings: Any) -> OwnConfig:
    return parse(OwnConfig, {"builder": "foreign_networks:student", **settings}, where="network own")


def trained() -> Student:
    torch.manual_seed(1)
    module = Student()
    with torch.no_grad():
        module(image(4, 3, 32, 32))  # moves running statistics
    return module.eval()


# ---------------------------------------------------------------------------------------------- from a recipe's words


def test_from_a_builder_and_a_file(tmp_path: Path) -> None:
    module = trained()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    settings = {"weights": str(tmp_path / "w.safetensors"), "mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.2, 0.1]}
    ref = MemberRef.model_validate({"name": "own", "builder": "foreign_networks:student", **settings})
    network = build_network(ref, TASK, InputConfig(size=(32, 48))).eval()
    assert MEMBER is type(network) is Own
    x = image()
    scaled = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.2, 0.1]).view(3, 1, 1)
    with torch.no_grad():
        assert torch.equal(network(x), module(scaled))
        doubled = network.restyled(x, lambda fs: [f * 2 for f in fs])
        assert torch.equal(doubled, module.decode([f * 2 for f in module.encode(scaled)]))
    assert [(t.name, t.stride, t.channels) for t in network.taps][-1] == ("forward:relu#3", 4, 16)
    assert (network.size_divisor, network.origin) == (4, "weights file w.safetensors")
    assert set(Own.files(network.config)) == {tmp_path / "w.safetensors", Path(foreign_networks.__file__)}


def test_in_a_bundle_it_begins_without_its_file(tmp_path: Path) -> None:
    """What export/bundle does: the reference of ``from_scratch``, then all weights, standardization among them."""
    torch.save({"state_dict": trained().state_dict()}, tmp_path / "w.ckpt")
    network = Own(configured(weights=str(tmp_path / "w.ckpt"), mean=[0.5] * 3, deviation=[0.2] * 3), TASK).eval()
    stored = from_scratch(network.config).model_dump(mode="json")
    assert (stored["weights"], stored["mean"], stored["deviation"]) == (None, None, None)
    again = build_network(
        MemberRef.model_validate({"name": "own", **stored}), TASK, InputConfig(size=(32, 32)), pretrained=False
    )
    load_exactly(again, network.state_dict(), where="bundle")
    with torch.no_grad():
        assert torch.equal(again.eval()(image()), network(image()))
    assert again.taps == network.taps


def test_no_builder() -> None:
    with pytest.raises(ConfigError, match="no builder. Give `builder: package.module:function_or_class`"):
        Own(OwnConfig(), TASK)


# --------------------------------------------------------------------------------------------------------- an object


def test_an_object_stays_as_it_is() -> None:
    module = trained().train()
    module.down[0].requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    network = own_network(module, TASK, mean=[0.0] * 3)
    network.requires_grad_(False)
    for parameter in network.body.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert [p.requires_grad for p in (module.down[0].weight, module.down[1].weight)] == [False, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert network.origin == "a module that was handed over"


def test_wrappers_are_taken_off() -> None:
    module = trained()
    for wrapped in (nn.DataParallel(module), torch.compile(module, backend="eager")):
        network = own_network(wrapped, TASK).eval()
        assert type(network.body) is Student
        with torch.no_grad():
            assert torch.equal(network(image()), module(image()))


def test_a_copy_of_the_network_is_restyled_by_itself() -> None:
    network = own_network(trained(), TASK).eval()
    other = copy.deepcopy(network)
    with torch.no_grad():
        expected = network.restyled(image(), lambda fs: [f * 2 for f in fs])
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(other.restyled(image(), lambda fs: [f * 2 for f in fs]), expected)


def test_decode_does_not_exist() -> None:
    network = own_network(trained(), TASK)
    with pytest.raises(ConfigError, match="decoder of Student cannot be separated. Use restyled"):
        network.decode(network.encode(image()))


def test_modes_are_left_alone() -> None:
    module = trained().train()
    module.norm[1].eval()
    network = own_network(module, TASK)
    assert [m.training for m in network.body.modules()] == [m.training for m in module.modules()]


def test_a_forward_that_draws_is_refused() -> None:
    class Draws(Student):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.dropout(x, 0.5))

    with pytest.raises(ConfigError, match="Draws: two forward passes on one image differ in evaluation mode"):
        own_network(Draws(), TASK)


# ------------------------------------------------------------------------------------------------------------ output


class Ends(nn.Module):
    """A student whose output goes through one more step."""

    def __init__(self, inner: nn.Module, end: Any) -> None:
        super().__init__()
        self.inner, self.end = inner, end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.inner(x))


def test_one_logit_becomes_two_exactly() -> None:
    module = Student(classes=1).eval()
    network = own_network(module, TASK, output="sigmoid").eval()
    with torch.no_grad():
        z, logits = module(image()), network(image())
    assert torch.equal(logits[:, :1], torch.zeros_like(z))
    torch.testing.assert_close(logits.softmax(1)[:, 1:], z.sigmoid())


@pytest.mark.parametrize(("outputs", "end"), [(1, torch.sigmoid), (3, nn.Softmax(1))])
def test_probabilities_become_logits(outputs: int, end: Any) -> None:
    module = Ends(Student(classes=outputs), end).eval()
    network = own_network(module, TASK if outputs == 1 else THREE, output="probabilities").eval()
    with torch.no_grad():
        found, given = network(image()).softmax(1), module(image())
    torch.testing.assert_close(found, torch.cat([1 - given, given], 1) if outputs == 1 else given)


def test_certain_probabilities_stay_finite() -> None:
    network = own_network(Ends(Student(classes=1), lambda z: (z > 0).float()).eval(), TASK, output="probabilities")
    assert network.eval()(image()).isfinite().all()


@pytest.mark.parametrize(
    ("end", "select"),
    [
        (lambda z: {"out": z, "aux": z[:, :1]}, "out"),
        (lambda z: (z[..., ::2, ::2], z), 1),
        (lambda z: [z, None], 0),
        (lambda z: type("Output", (tuple,), {"logits": z})(), "logits"),
    ],
)
def test_the_logits_are_selected(end: Any, select: Any) -> None:
    student = trained()
    network = own_network(Ends(student, end), TASK, select=select).eval()
    with torch.no_grad():
        assert torch.equal(network(image()), student(image()))


def test_features_beside_the_logits_are_no_obstacle() -> None:
    module = Residual().eval()
    network = own_network(module, TASK, select="out").eval()
    assert [(tap.stride, tap.channels) for tap in network.taps] == [(1, 8), (2, 8), (4, 8)]


@pytest.mark.parametrize(
    ("module", "task", "settings", "message"),
    [
        (Residual(), TASK, {}, r"its output is dict with keys \['features', 'out'\]; one tensor of logits.*Set `select`"),
        (Residual(), TASK, {"select": "logits"}, "its output has no 'logits'"),
        (Student(classes=5), THREE, {}, r"output is \[2, 5, 64, 96\]; `output: softmax` of 3 classes needs \[2, 3, 64, 96\]"),
        (Student(classes=1), TASK, {}, "For one logit of the only foreground class set `output: sigmoid`"),
        (Student(classes=3), Task(3, ("b", "x", "y", "z")), {"output": "sigmoid"}, r"overlap \(multi-label\) are not supported"),
        (Student(classes=1), THREE, {"output": "sigmoid"}, "of 3 classes is not possible"),
        (Ends(Student(), nn.MaxPool2d(2)), TASK, {}, "Let the module resize its logits to the images' size"),
        (Student(channels=1), TASK, {}, r"on a made-up image of 3 channel\(s\) and 64×96 pixels.*change the task's `channels`.*`probe`"),
        (Student(), TASK, {"mean": [0.0]}, "`mean` has 1 entries; the input has 3"),
        (Student(), TASK, {"size_divisor": [4, 4, 4]}, r"`size_divisor` is \(4, 4, 4\); they need 2 entries, one an axis"),
        (Student(), TASK, {"deviation": [1.0, 0.0, 1.0]}, "deviation is .*; every entry must be above 0"),
        (Student(), TASK, {"probe": [0, 8]}, "size_divisor and probe must be 1 or more"),
        (Student(), TASK, {"output": "multilabel"}, "'softmax', 'sigmoid' or 'probabilities'"),
    ],
)  # fmt: skip
def test_what_does_not_fit(module: nn.Module, task: Task, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        own_network(module, task, **settings)


# -------------------------------------------------------------------------------------------------------------- sizes


def test_the_divisor_is_the_deepest_stride_or_as_told() -> None:
    assert own_network(trained(), TASK).size_divisor == 4
    network = own_network(trained(), TASK, size_divisor=[8, 12])
    assert (network.divisors, network.size_divisor) == ((8, 12), 4)
    with pytest.raises(ShapeMismatch, match="images are 8×16; sides must be multiples of 8×12. .*good size is 8×12"):
        network(image(1, 3, 8, 16))
    assert network(image(1, 3, 8, 24)).shape == (1, 2, 8, 24)


def test_a_module_of_one_size() -> None:
    class Fixed(Student):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2:] != (40, 40):
                raise ValueError("40×40 is required")
            return super().forward(x)

    with pytest.raises(ConfigError, match="40×40 is required.*set `probe` to one of them"):
        own_network(Fixed(), TASK)
    assert len(own_network(Fixed(), TASK, probe=[40, 40]).taps) == 3


def test_without_taps_it_is_used_whole() -> None:
    module = nn.Conv2d(3, 2, 3, padding=1)
    network = own_network(module, TASK, taps=[])
    assert (network.taps, network.size_divisor, network.encode(image())) == ((), 1, [])
    assert torch.equal(network(image()), network.restyled(image(), lambda fs: fs))


def test_a_volume_and_neighbors_as_channels() -> None:
    volume = own_network(Student(channels=1, dims=3), Task(1, TASK.classes, spatial_dims=3), size_divisor=4)
    assert volume(image(1, 1, 8, 8, 16)).shape == (1, 2, 8, 8, 16)
    assert own_network(Student(channels=5), Task(1, TASK.classes), channels=5)(image(1, 5, 8, 8)).shape == (1, 2, 8, 8)


# -------------------------------------------------------------------------------------------------- names of weights

STATE = nn.Linear(2, 1).state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module.model.", "net._orig_mod."])
def test_what_wrappers_put_before_names(prefix: str) -> None:
    given = {f"{prefix}{name}": value for name, value in STATE.items()}
    assert unwrapped_names(given, nn.Linear(2, 1), where="w.pth").keys() == STATE.keys()


def test_a_module_whose_own_names_look_wrapped_is_left_alone() -> None:
    module = nn.ModuleDict({"model": nn.Linear(2, 1)})
    part = {"model.weight": STATE["weight"]}
    for given in (module.state_dict(), part):
        assert unwrapped_names(given, module, where="w.pth").keys() == given.keys()


def test_other_names_beside_are_left_out_only_when_told() -> None:
    given = {**{f"model.{name}": value for name, value in STATE.items()}, "criterion.weight": torch.ones(2)}
    with pytest.raises(
        BundleError, match=r"after 'model.', beside others: \['criterion.weight'\]. Set `prefix: 'model.'`"
    ):
        unwrapped_names(given, nn.Linear(2, 1), where="w.ckpt")
    assert unwrapped_names(given, nn.Linear(2, 1), prefix="model.", where="w.ckpt").keys() == STATE.keys()
    with pytest.raises(BundleError, match="no name begins with 'ema.'"):
        unwrapped_names(given, nn.Linear(2, 1), prefix="ema.", where="w.ckpt")


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save(Student(classes=4).state_dict(), tmp_path / "w.pth")
    with pytest.raises(BundleError, match=r"w.pth: the weights do not fit Student.*\n.*head.weight"):
        Own(configured(weights=str(tmp_path / "w.pth")), TASK)


# ------------------------------------------------------------------------------------------------------ with [timm]


@pytest.mark.timm
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("Unet", [(2, 64), (4, 64), (8, 128), (16, 256), (32, 512)]),
        ("UnetPlusPlus", [(2, 64), (4, 64), (8, 128), (16, 256), (32, 512)]),
        ("FPN", [(4, 64), (8, 128), (16, 256), (32, 512)]),
        ("DeepLabV3Plus", [(4, 64), (16, 512)]),
        ("MAnet", [(2, 64), (4, 64), (8, 128), (16, 256), (32, 512)]),
    ],
)
def test_segmentation_models(architecture: str, expected: list[tuple[int, int]]) -> None:
    """The same bits as the member ``smp``, which knows the library's parts, for features that its decoder uses."""
    arguments = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 2}
    builder = f"segmentation_models_pytorch:{architecture}"
    network = Own(configured(builder=builder, arguments=arguments), TASK).eval()
    assert [(tap.stride, tap.channels) for tap in network.taps] == expected
    ref = MemberRef.model_validate({"name": "smp", "architecture": architecture, "encoder": "resnet18"})
    smp = build_network(ref, TASK, InputConfig(size=(64, 64)), pretrained=False).eval()
    smp.body.load_state_dict(network.body.state_dict())
    where = [[t.channels == c and t.stride == s for t in smp.taps].index(True) for s, c in expected]
    if architecture == "DeepLabV3Plus":
        where[-1] = len(smp.taps) - 1
    x = image(2, 3, 64, 96)
    with torch.no_grad():
        features = smp.encode(x)
        for index in where:
            features[index] = features[index] * 2 - 1
        assert torch.equal(network.restyled(x, lambda fs: [f * 2 - 1 for f in fs]), smp.decode(features))
        assert torch.equal(network.restyled(x, lambda fs: fs), network(x))
    shifts = [torch.zeros(c, 1, 1, requires_grad=True) for _, c in expected]
    network.restyled(x, lambda fs: [f + s for f, s in zip(fs, shifts, strict=True)]).square().sum().backward()
    assert all(s.grad is not None and s.grad.abs().sum() > 0 for s in shifts)
