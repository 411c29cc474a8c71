from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from foreign_networks import Residual, Student, Tokens
from unshift.errors import ConfigError
from unshift.networks.catching import features, restyled
from unshift.networks.crossing import Crossing, find_crossing
from unshift.networks.recording import Recording


def plan(module: nn.Module, key: str | None = None) -> Crossing:
    return find_crossing(Recording(module.eval(), image()), logits=lambda out: out[key] if key else out)


def image(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(seed))


def run(module: nn.Module, where: Crossing, restyle: object, x: Tensor | None = None) -> Tensor:
    return restyled(module, image() if x is None else x, where.places, where.cut, restyle)  # type: ignore[arg-type]


def is_clean(module: nn.Module) -> bool:
    return not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("relu", ["function", "in place", "module"])
def test_features_are_those_of_the_forward_and_the_decoder_is_not_run(relu: str) -> None:
    module = Student(relu=relu)
    where = plan(module)
    calls: list[int] = []
    module.head.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        found = features(module, image(), where.places, where.cut)
        assert all(torch.equal(a, b) for a, b in zip(found, module.encode(image()), strict=True))
    assert not calls
    assert is_clean(nn.ModuleList([module.down, module.norm]))


def test_in_half_precision_and_channels_last() -> None:
    module = Student(relu="in place").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    where = plan(module)
    x = image().to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(module, where, lambda fs: [f.clone() for f in fs], x), module(x))
        expected = module.decode([f * 2 for f in module.encode(x)])
        assert torch.equal(run(module, where, lambda fs: [f.float() * 2 for f in fs], x), expected)


def test_within_a_compiled_function() -> None:
    module = Student()
    where = plan(module)
    compiled = torch.compile(lambda x: run(module, where, lambda fs: [f * 2 for f in fs], x) + 1, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(image()), module.decode([f * 2 for f in module.encode(image())]) + 1)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_modes_of_autograd(mode: type) -> None:
    for module in (Student(), Tokens()):
        where = plan(module)
        with mode():
            out = run(module, where, lambda fs: [f * 2 for f in fs])
            torch.testing.assert_close(out, module.decode([f * 2 for f in module.encode(image())]), rtol=0, atol=0)
            assert torch.is_grad_enabled() == (mode is torch.enable_grad)


def test_a_gradient_reaches_units_and_decoder_and_not_the_encoder() -> None:
    for module in (Student(relu="in place"), Tokens()):
        where = plan(module)
        shifts = [torch.zeros(n, 1, 1, requires_grad=True) for n in module.channels]
        run(module, where, lambda fs, s=shifts: [f + v for f, v in zip(fs, s, strict=True)]).square().sum().backward()
        own = [s.grad for s in shifts]
        assert all(parameter.requires_grad for parameter in module.parameters())
        reached = {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None}
        assert reached == ({"up", "head"} if isinstance(module, Student) else {"grow"})
        # the same by hand, through encode and decode
        again = [torch.zeros(n, 1, 1, requires_grad=True) for n in module.channels]
        with torch.no_grad():
            found = module.encode(image())
        module.decode([f + v for f, v in zip(found, again, strict=True)]).square().sum().backward()
        for a, b in zip(own, again, strict=True):
            torch.testing.assert_close(a, b.grad)


def test_images_that_want_a_gradient_are_refused() -> None:
    module = Student()
    with pytest.raises(ConfigError, match="Student: the images require a gradient.*Detach"):
        run(module, plan(module), lambda fs: fs, image().requires_grad_())


def test_a_restyle_that_fails_leaves_nothing_behind() -> None:
    module = Student()
    where = plan(module)
    with pytest.raises(ZeroDivisionError):
        run(module, where, lambda fs: 1 / 0)
    assert is_clean(module)
    assert all(parameter.requires_grad for parameter in module.parameters())
    torch.relu(torch.zeros(1))  # no mode is left
    for wrong in (lambda fs: fs[:1], lambda fs: [f[:1] for f in fs]):
        with pytest.raises(ConfigError, match=r"restyle: returned .* are required"):
            run(module, where, wrong)


def test_a_forward_that_goes_another_way_is_an_error() -> None:
    class Fickle(Student):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.repeat(1, 3, 1, 1)[:, :8]) if x.shape[-1] > 48 else super().forward(x)

    module = Fickle()
    where = plan(module)
    other = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        for act in (lambda: run(module, where, lambda fs: fs, other), lambda: features(module, other, *_of(where))):
            with pytest.raises(ConfigError, match="its forward differs from call to call"):
                act()


def _of(where: Crossing) -> tuple[object, object]:
    return where.places, where.cut


def test_views_of_one_tensor_cannot_get_a_gradient() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Conv2d(3, 8, 2, 2), nn.ConvTranspose2d(4, 2, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.down(x).chunk(2, 1)
            return self.up(a) * self.up(b)

    module = Halves()
    where = plan(module)
    assert [tap.channels for tap in where.taps] == [4, 4]
    with torch.no_grad():
        a, b = module.down(image()).chunk(2, 1)
        assert torch.equal(run(module, where, lambda fs: [fs[0] * 2, fs[1]]), module.up(a * 2) * module.up(b))
    shift = torch.zeros(1, requires_grad=True)
    with pytest.raises(ConfigError, match="cannot be written into.*without it"):
        run(module, where, lambda fs: [f + shift for f in fs])


def test_another_thread_that_runs_the_module_is_not_caught() -> None:
    module = Residual()
    where = plan(module, "out")
    plain = module(image(1))["out"].detach()
    others: list[Tensor] = []

    def elsewhere(*_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=lambda: others.append(module(image(1))["out"].detach()))
            thread.start()
            thread.join()

    module.convs[1].register_forward_hook(elsewhere)
    with torch.no_grad():
        expected = module.decode([f * 2 for f in module.encode(image())])
        assert torch.equal(run(module, where, lambda fs: [f * 2 for f in fs])["out"], expected)
    assert others
    assert all(torch.equal(out, plain) for out in others)
