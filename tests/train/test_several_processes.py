"""A training in several processes, whole networks or sharded: what one process computes, up to rounding."""

import contextlib
import types
from itertools import chain

import pytest
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from compare import assert_close, assert_same
from spikeloom import data, functional, layer, neuron
from spikeloom.encoding import PoissonEncoder
from spikeloom.errors import RunError
from spikeloom.train import checkpoint, shard
from spikeloom.train.evaluation import evaluate
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run
from train.together import in_processes

TRAIN, TEST, BATCH = 72, 31, 24  # 3 steps; no number of processes here divides the test samples
EPOCHS = 2


class Block(nn.Module):
    """Its output is a view, and is changed in place by what follows."""

    def __init__(self):
        super().__init__()
        self.conv = layer.Conv2d(2, 2, 3, padding=1, bias=False)
        self.norm = layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 2)

    def forward(self, x):
        return self.norm(self.conv(x))


class AddInPlace(nn.Module):
    def forward(self, x):
        x += 0.1
        return x


class View(nn.Module):
    """What a layer returns that folds time into the batch."""

    def forward(self, x):
        return x.view_as(x)


def build(norm=True):
    digits = data.digits().take(TRAIN, TEST)
    net = nn.Sequential(
        layer.Conv2d(1, 2, 3, padding=1, bias=not norm),
        layer.BatchNorm2d(2) if norm else nn.Identity(),
        neuron.ParametricLIFNode(v_threshold=0.3),
        nn.Sequential(
            Block() if norm else layer.Conv2d(2, 2, 3, padding=1),
            AddInPlace(),
            neuron.ParametricLIFNode(init_tau=3.0, v_threshold=0.3),
        ),
        layer.Flatten(),
        layer.Linear(128, 10),
        neuron.LIFNode(v_threshold=0.1),
        View(),
    )
    functional.set_step_mode(net, "m")
    if norm:
        net.to(memory_format=torch.channels_last)
    for parameter in [] if norm else net.parameters():
        parameter.data *= 3.0  # so that neurons fire
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    return Experiment(
        net,
        digits,
        encode=lambda x, random: PoissonEncoder(generator=random).encode(x, 6),
        loss=lambda spikes, labels: functional.firing_rate_mse(spikes.double(), labels),
        predict=lambda spikes: spikes.sum(0).argmax(-1),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9),
    )


class Noting(Trainer):
    """Notes each step's samples, and the loss over all processes; stops after ``num_steps`` of them, because
    its process, if it is the last one, was told to."""

    def __init__(self, *args, num_steps=None, **options):
        super().__init__(*args, **options)
        self.left, self.seen, self.losses = num_steps, [], []

    def train_step(self, indices, following):
        self.seen.append(indices.tolist())
        if self.left is not None and self.fabric.global_rank == self.fabric.world_size - 1:
            self.left -= 1
            self.interrupt.noted = self.left == 0
        totals = super().train_step(indices, following)
        self.losses.append(totals[0] / totals[2])
        return totals


def train(folder, size, *, norm=True, divide=False, precision="64-true", draws=False, **options):
    """Train to the end, or for some steps, from where the folder's run stands.

    It is in double precision, so that no spike depends on the order in which gradients add up.
    """
    shard.LEAST = 100  # so that some layers are exchanged on their own
    fabric = make_fabric("cpu", size, precision, shard=divide)
    fabric.launch()
    experiment = build_seeded(lambda: build(norm), 0)
    if not (folder / "config.json").exists() and fabric.is_global_zero:
        Run.create(folder, "none", {})
    trainer = Noting(fabric, experiment, Run(folder), epochs=EPOCHS, batch_size=BATCH, **options)
    if not draws:
        trainer._draw = lambda: None
    with contextlib.suppress(KeyboardInterrupt):
        trainer.fit()
    return trainer


def noted(trainer):
    return {"samples": trainer.seen, "losses": trainer.losses, "history": trainer.progress.history}


PARTS = {"micro_batch": 4, "time_chunk": 4, "norm": False, "num_steps": 2}
ONLINE = {"gradient": "ottt", "num_steps": 2}
CASES = {
    "whole": {},
    "sharded": {"divide": True},
    "whole in parts": PARTS,
    "sharded in parts": {**PARTS, "divide": True},
    "whole online": ONLINE,
    "sharded online": {**ONLINE, "divide": True},
}
MIXED = {"precision": "bf16-mixed", "num_steps": 2}
CHAINS = {"whole chain": False, "sharded chain": True}


def everything(rank, size, folder):
    """All that is done in ``size`` processes: what each case noted."""
    found = {}
    for case, options in CASES.items():
        found[case] = noted(train(folder / f"{case}, {size}", size, draws=case == "sharded", **options))
    for case, divide in {"whole mixed": False, "sharded mixed": True}.items():
        found[case] = noted(train(folder / f"{case}, {size}", size, divide=divide, **MIXED))
    for case, divide in CHAINS.items():
        trainer = train(folder / case, size, divide=divide, num_steps=2)
        found[case] = noted(trainer)
    if size == 3:
        train(folder / "stopped", size, divide=True, num_steps=1)
        train(folder / "stopped", size, divide=True)
    net = trainer.experiment.net
    found["divided"] = [name for name, one in net.named_parameters() if isinstance(one, DTensor)]
    found["net"] = shard.gathered(net.state_dict(), keep=True)
    for count in (1, TEST):
        trainer.experiment.data = data.digits().take(TRAIN, count)
        found[f"{count} test samples"] = evaluate(trainer.fabric, trainer.experiment)
    return found


def alone(folder):
    """What one process does first: the cases to the end, the chains to their first step."""
    found = {}
    for case in ("whole", "whole in parts", "whole online"):
        found[case] = noted(train(folder / f"{case}, 1", 1, **CASES[case]))
    for case in CHAINS:
        found[case] = noted(train(folder / case, 1, num_steps=1))
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of all runs, and by number of processes what each of them noted."""
    folder = tmp_path_factory.mktemp("runs")
    found = {1: [alone(folder)]}
    for size in (2, 3):
        found[size] = in_processes(size, everything, size, folder)
    for case in CHAINS:
        found[1][0][f"{case}, end"] = noted(train(folder / case, 1))
    return folder, found


def state(folder):
    return checkpoint.load(folder / "checkpoints" / checkpoint.LAST)


def assert_same_training(reference, got):
    """Weights, statistics, the optimiser's state and the history agree, up to the single precision in which
    Fabric returns a network's output."""
    for name, weight in reference["net"].items():
        assert_close(name, weight.float(), got["net"][name].float())
    for number, moments in reference["optimizer"]["state"].items():
        for name, moment in moments.items():
            assert_close(f"{name} {number}", moment.float(), got["optimizer"]["state"][number][name].float())
    assert reference["optimizer"]["param_groups"] == got["optimizer"]["param_groups"]
    assert reference["scheduler"] == got["scheduler"]
    for one, other in zip(reference["progress"]["history"], got["progress"]["history"], strict=True):
        for key in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert other[key] == pytest.approx(one[key], rel=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [2, 3])
def test_they_compute_what_one_process_does(runs, size, case):
    folder, found = runs
    reference = case.replace("sharded", "whole")
    for one in found[size]:
        assert one[case]["losses"] == pytest.approx(found[1][0][reference]["losses"], rel=1e-6)
    assert_same_training(state(folder / f"{reference}, 1"), state(folder / f"{case}, {size}"))


@pytest.mark.parametrize("size", [2, 3])
def test_they_share_the_samples_of_each_step(runs, size):
    _, found = runs
    for case in CASES:
        shared = zip(*(one[case]["samples"] for one in found[size]), strict=True)
        together = [sorted(chain.from_iterable(parts)) for parts in shared]
        reference = found[1][0][case.replace("sharded", "whole")]["samples"]
        assert together == [sorted(samples) for samples in reference]


@pytest.mark.parametrize("case", CHAINS)
def test_a_run_goes_on_with_other_numbers_of_processes(runs, case):
    """1, 2, 3 processes and 1 again, each stopped in the middle of an epoch by one of them."""
    folder, found = runs
    steps = [found[1][0][case], found[2][0][case], found[3][0][case], found[1][0][f"{case}, end"]]
    assert [len(one["losses"]) for one in steps] == [1, 2, 2, 1]
    losses = list(chain.from_iterable(one["losses"] for one in steps))
    assert losses == pytest.approx(found[1][0]["whole"]["losses"], rel=1e-6)
    assert len(set(losses)) == 6
    assert_same_training(state(folder / "whole, 1"), state(folder / case))


def test_three_sharded_processes_go_on_bit_by_bit(runs):
    folder, _ = runs
    reference, got = state(folder / "sharded, 3"), state(folder / "stopped")
    for name, weight in reference["net"].items():
        assert_same(name, weight, got["net"][name])


@pytest.mark.parametrize("size", [2, 3])
def test_sharded_networks_are_in_parts_but_for_neurons(runs, size):
    _, found = runs
    for one in found[size]:
        assert "0.weight" in one["divided"]
        assert "5.bias" in one["divided"]
        assert not {"2.w", "3.2.w"} & set(one["divided"])


@pytest.mark.parametrize("size", [2, 3])
def test_sharded_or_not_mixed_precision_is_the_same(runs, size):
    _, found = runs
    for one in found[size]:
        assert one["sharded mixed"]["losses"] == pytest.approx(one["whole mixed"]["losses"], rel=1e-6)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("count", [1, TEST])
def test_every_test_sample_counts_once(runs, size, count):
    """31 samples cannot be divided equally; of one, all processes but one get none."""
    _, found = runs
    experiment = build_seeded(build, 0)
    experiment.data = data.digits().take(TRAIN, count)
    experiment.net.double().load_state_dict(found[size][0]["net"])
    loss, accuracy = evaluate(make_fabric("cpu", precision="64-true"), experiment)
    for one in found[size]:
        assert one[f"{count} test samples"] == pytest.approx((loss, accuracy), rel=1e-12)


def test_batches_must_be_shared_equally(tmp_path):
    experiment, fabric = build_seeded(build, 0), types.SimpleNamespace(world_size=3)
    with pytest.raises(RunError, match=r"`batch_size` must be a multiple of the number of proc.*25 and 3"):
        Trainer(fabric, experiment, Run(tmp_path), epochs=1, batch_size=25)


def test_what_is_done_before_an_epoch_is_not_sharded(tmp_path):
    experiment, fabric = build_seeded(build, 0), make_fabric("cpu", 2, shard=True)
    experiment.before_epoch = lambda _epoch: {}
    with pytest.raises(RunError, match="`shard` must be off for this experiment"):
        Trainer(fabric, experiment, Run(tmp_path), epochs=1, batch_size=24)


class Tied(nn.Sequential):
    """Two layers with one weight, and a parameter that nothing needs."""

    def __init__(self, extra):
        super().__init__(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10))
        self[3].weight = self[1].weight
        if extra:
            self.register_parameter("extra", nn.Parameter(torch.zeros(1)))


def odd(rank, size, folder):
    """What becomes of two networks: losses, or the error."""
    shard.LEAST = 100
    found = {}
    for case, divide, extra in (("tied", True, False), ("unused", False, True)):
        fabric = make_fabric("cpu", size, shard=divide)
        fabric.launch()
        torch.manual_seed(0)
        net = Tied(extra)
        experiment = Experiment(
            net,
            data.digits().take(TRAIN, TEST),
            encode=lambda x, random: x,
            loss=nn.functional.cross_entropy,
            predict=lambda output: output.argmax(-1),
            optimizer=torch.optim.SGD(net.parameters(), 1e-2),
        )
        run = folder / f"{case}, {size}"
        if fabric.is_global_zero:
            Run.create(run, "none", {})
            (run / "figures").write_text("so that none can be written here")
        try:
            history = Trainer(fabric, experiment, Run(run), epochs=EPOCHS, batch_size=BATCH).fit()
            found[case] = [row["train_loss"] for row in history]
        except RunError as error:
            found[case] = str(error)
    return found


def test_odd_networks_and_folders(tmp_path):
    """Tied weights are sharded, though no figure can be drawn; a parameter without a gradient is named."""
    (alone,) = in_processes(1, odd, 1, tmp_path)
    first, second = in_processes(2, odd, 2, tmp_path)
    assert first["tied"] == second["tied"] == pytest.approx(alone["tied"], rel=1e-5)
    assert isinstance(alone["unused"], list)
    assert "must use every parameter of `net`, but not 'extra'" in first["unused"]


def test_batches_larger_than_the_data_must_be_shared_equally(tmp_path):
    experiment, fabric = build_seeded(build, 0), types.SimpleNamespace(world_size=5)
    with pytest.raises(RunError, match=r"`batch_size` must be at most 70 with 72 training samples and 5 pro"):
        Trainer(fabric, experiment, Run(tmp_path), epochs=1, batch_size=100)
