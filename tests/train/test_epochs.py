"""What an experiment may do beside its network: mix samples, and act before each epoch; both resume."""

import json

import pytest
import torch
from torch import nn

from compare import assert_same
from spikeloom import data
from spikeloom.encoding import derive_seed
from spikeloom.train import checkpoint, loop
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run


class Counted(nn.Linear):
    """A layer that notes what it was given, and breaks off when told."""

    def __init__(self, break_at=()):
        super().__init__(64, 10)
        self.register_buffer("epoch", torch.zeros(()))
        self.seen, self.break_at = [], break_at

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach())
            if len(self.seen) in self.break_at:
                raise KeyboardInterrupt
        return super().forward(x)


def trainer(folder, epochs=3, mixup=0.0, break_at=(), before_epoch=None, losses=None):
    def build():
        net = Counted(break_at)

        def loss(output, labels):
            value = nn.functional.cross_entropy(output, labels)
            if losses is not None and torch.is_grad_enabled():
                losses.append((value.item(), labels))
            return value

        return Experiment(
            net,
            data.digits().take(96, 40),
            encode=lambda x, _random: x.flatten(1),
            loss=loss,
            predict=lambda output: output.argmax(-1),
            optimizer=torch.optim.Adam(net.parameters(), 1e-2),
            mixup=mixup,
            before_epoch=before_epoch and (lambda epoch: before_epoch(net, epoch)),
            draw=lambda net, x, title: {},
        )

    run = Run.open(folder) if folder.exists() else Run.create(folder, "none", {})
    fabric = make_fabric("cpu")
    fabric.launch()
    experiment = build_seeded(build, 0)
    return Trainer(fabric, experiment, run, epochs=epochs, batch_size=32, checkpoint_minutes=1e-9)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 2.5}, {"log_every": 0}, {"micro_batch": -1}]
)
def test_numbers_that_make_no_training(wrong, tmp_path):
    experiment, fabric = trainer(tmp_path / "run").experiment, make_fabric("cpu")
    (name,) = wrong
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be"):
        Trainer(fabric, experiment, Run(tmp_path / "other"), **{"epochs": 1, "batch_size": 32} | wrong)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_sample_is_mixed_with_another_one_and_so_is_its_loss(tmp_path):
    losses = []
    one = trainer(tmp_path / "run", epochs=1, mixup=0.4, losses=losses)
    one.fit()
    images = data.as_float(one.experiment.data.train_x).flatten(1)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(derive_seed(0, "order", 0)))
    for step, seen in enumerate(one.experiment.net.seen):
        indices = order[32 * step : 32 * (step + 1)]
        share, others = one.samples.partners(indices, 0, step)
        assert 0 < share < 1
        assert_same("mixed", share * images[indices] + (1 - share) * images[others], seen)
        (first, labels), (second, other_labels) = losses[2 * step : 2 * step + 2]
        assert first != second
        assert_same("labels", one.experiment.data.train_y[indices], labels)
        assert_same("labels of the others", one.experiment.data.train_y[others], other_labels)
        if step == 0:
            output = nn.functional.linear(seen, *_first_weights())
            expected = share * nn.functional.cross_entropy(output, labels)
            expected += (1 - share) * nn.functional.cross_entropy(output, other_labels)
            assert share * first + (1 - share) * second == pytest.approx(expected.item(), rel=1e-5)


def _first_weights():
    torch.manual_seed(0)
    net = Counted()
    return net.weight, net.bias


def test_partners_do_not_depend_on_the_batch_and_the_share_is_one_for_all(tmp_path):
    one = trainer(tmp_path / "run", mixup=0.4)
    share, together = one.samples.partners(torch.arange(32), 0, 0)
    for part in (slice(0, 32, 2), slice(1, 32, 2)):  # as two processes would have them
        alone_share, alone = one.samples.partners(torch.arange(32)[part], 0, 0)
        assert alone_share == share
        assert_same("partners", together[part], alone)
    assert one.samples.partners(torch.arange(32), 0, 1)[0] != share
    assert len(together.unique()) > 16
    assert together.max() < 96


def test_shares_have_the_distribution_that_they_are_said_to_have(tmp_path):
    one = trainer(tmp_path / "run", mixup=0.5)
    shares = torch.tensor([one.samples.partners(torch.arange(1), 0, step)[0] for step in range(1000)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.04)
    assert shares.var().item() == pytest.approx(1 / 8, abs=0.01)  # of Beta(a, a): 1 / (4 (2 a + 1))


def test_a_resumed_training_mixes_alike(tmp_path):
    trainer(tmp_path / "unbroken", mixup=0.4).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "broken", mixup=0.4, break_at=[5]).fit()
    trainer(tmp_path / "broken", mixup=0.4).fit()
    ends = [checkpoint.load_last(tmp_path / name / "checkpoints")["net"] for name in ("unbroken", "broken")]
    for name in ends[0]:
        assert_same(name, ends[0][name], ends[1][name])


def test_what_happens_before_an_epoch_is_recorded_and_survives_an_interruption(tmp_path):
    calls = []

    def before_epoch(net, epoch):
        calls.append(epoch)
        net.epoch.fill_(epoch + 10)
        return {"temperature": epoch + 0.5}

    with pytest.raises(KeyboardInterrupt):
        trainer(
            tmp_path / "run", break_at=[6], before_epoch=before_epoch
        ).fit()  # in the third step of epoch 2
    assert calls == [0, 1]
    state = checkpoint.load_last(tmp_path / "run" / "checkpoints")
    assert state["progress"]["step"] == 2
    assert state["net"]["epoch"] == 11
    trainer(tmp_path / "run", before_epoch=before_epoch).fit()
    assert calls == [0, 1, 2]  # the epoch that was broken off goes on with what it had
    assert [row["temperature"] for row in rows(tmp_path / "run")] == [0.5, 1.5, 2.5]


def test_it_is_drawn_in_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer(tmp_path / "run", before_epoch=lambda net, epoch: {"temperature": epoch + 0.5}).fit()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("epoch/temperature")] == [0.5, 1.5, 2.5]


def test_an_experiment_without_either_is_as_it_was(tmp_path):
    one = trainer(tmp_path / "run", epochs=1)
    one.fit()
    assert one.progress.notes == {}
    assert len(rows(tmp_path / "run")[0]) == 7


def test_a_training_that_was_stopped_after_the_last_step_of_an_epoch(tmp_path, monkeypatch):
    """No step is left to watch neurons in, and the speed is that of the steps before."""
    one = trainer(tmp_path / "run", epochs=1)
    one.progress.step, one.progress.sums, one.progress.seconds = one.num_steps, [48.0, 48, 96], 2.0
    monkeypatch.setattr(loop, "FiringCheck", None)
    row = one.train_epoch()
    assert (row["train_loss"], row["train_accuracy"], row["samples_per_second"]) == (0.5, 0.5, 48.0)
