"""Plots: what they draw, the axes they return, and what they refuse. How they look was judged by eye."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from spikeloom import plot
from spikeloom.errors import ShapeError, UnknownNameError

T, NEURONS = 20, 5


@pytest.fixture(autouse=True)
def closed_figures():
    """Settings are as before, and figures are closed."""
    before = dict(pyplot.rcParams)
    yield
    assert dict(pyplot.rcParams) == before
    pyplot.close("all")


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def spikes() -> torch.Tensor:
    return torch.eye(NEURONS).repeat(T // NEURONS, 1)


def segments(ax) -> list:
    """The vertical ticks of a raster."""
    return ax.collections[0].get_segments()


FORMS = {
    "tensor": lambda x: x,
    "with a graph": lambda x: x.clone().requires_grad_(),
    "bool": lambda x: x.bool(),
    "bfloat16": lambda x: x.bfloat16(),
    "array": lambda x: x.numpy(),
    "list of tensors": lambda x: [step.clone().requires_grad_() for step in x],
    "nested lists": lambda x: x.tolist(),
    "sparse": lambda x: x.to_sparse(),
}


@pytest.mark.parametrize("form", FORMS)
def test_raster_takes_any_form(form, ax):
    assert plot.raster(FORMS[form](spikes()), ax) is ax
    middles = {(int(segment[0, 0]), round(float(segment[:, 1].mean()))) for segment in segments(ax)}
    assert middles == {(step, step % NEURONS) for step in range(T)}
    assert ax.get_xlim() == (-0.5, T - 0.5)
    assert ax.get_ylim() == (NEURONS - 0.5, -0.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time step", "neuron")


def test_raster_chooses_a_sample():
    batch = torch.zeros(T, 3, 2, 4)
    batch[:, 1, 0, 2] = 1
    figure = Figure()
    first, second, single = figure.subplots(3)
    plot.raster(batch, first)
    plot.raster(batch, second, sample=1)
    plot.raster(spikes(), single, sample=2)
    assert len(segments(first)) == 0
    assert first.texts[0].get_text() == "no spikes"
    assert {segment[:, 1].mean() for segment in segments(second)} == {2.0}
    assert second.get_ylim() == (7.5, -0.5)
    assert single.get_title() == "Spikes of 1 neuron over 20 time steps, sample 2 of 5"
    assert first.get_title() == "Spikes of 8 neurons over 20 time steps, sample 0 of 3"


def test_titles_say_which_of_several_samples_is_shown():
    plots = (plot.membrane, "Membrane potential of 2 neurons"), (plot.heatmap, "2 neurons")
    for function, what in plots:
        for samples, sample, said in ((3, None, ", sample 0 of 3"), (3, -1, ", sample 2 of 3"), (1, 0, "")):
            drawn = function(torch.rand(4, samples, 2), ax=Figure().subplots(), sample=sample)
            assert drawn.get_title() == f"{what} over 4 time steps{said}"
    frames = torch.ones(1, 3, 2, 4, 5)
    assert plot.event_frames(frames, Figure().subplots()).get_title() == "1 frame of 4 x 5, sample 0 of 3"


@pytest.mark.parametrize("values", [[-1, 0, 1], [0, 3, 2], [0, 2.5, 2.5], [0, 0.1, -0.1], [0.3, 0.1, 0.7]])
def test_spikes_have_any_size_and_sign(values, ax):
    plot.raster(torch.tensor(values), ax)
    assert len(segments(ax)) == sum(value != 0 for value in values)


@pytest.mark.parametrize("potentials", [[0.5, 0.25, 0.11], [0.0, 1.0, 0.3], [-65.0, -64.5, -70.0]])
def test_potentials_are_no_spikes(potentials):
    reason = r"`spikes` must be 0 and 1, .* such as [\d.]+ and [\d.]+\. Draw potentials with `plot.membrane`"
    with pytest.raises(ValueError, match=reason):
        plot.raster(potentials)
    with pytest.raises(ValueError, match=reason):
        plot.membrane([0, 1, 0], potentials)
    assert pyplot.get_fignums() == []


def test_raster_firing_rates_are_beside_it(ax):
    plot.raster(spikes()[:6], ax, firing_rate=True)
    _, side = ax.figure.axes
    assert (side.get_title(), side.get_xlabel()) == ("firing rate", "per time step")
    assert [text.get_text() for text in side.texts] == ["0.33", "0.17", "0.17", "0.17", "0.17"]
    assert side.get_ylim() == ax.get_ylim()


def test_ticks_are_whole_numbers(ax):
    plot.raster(torch.ones(3, 196), ax)
    ax.figure.canvas.draw()
    for ticks in (ax.get_xticks(), ax.get_yticks()):
        assert (ticks == ticks.round()).all()


def test_membrane_of_one_neuron(ax):
    assert plot.membrane([0.5, 0.75, 0.0], [0, 0, 1], ax, v_reset=0.0) is ax
    assert np.allclose(ax.lines[0].get_ydata(), [0.5, 0.75, 0.0])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "potential after reset",
        "threshold",
        "reset",
        "spike",
    ]
    (tick,) = ax.collections[-1].get_segments()
    assert tick[0, 0] == 2
    assert tick[:, 1].min() > 1.0
    assert ax.get_ylim()[1] > tick[:, 1].max()


def test_membranes_are_stacked_without_touching(ax):
    v = torch.rand(T, NEURONS) * 2 - 1
    plot.membrane(v, spikes(), ax, neurons=[4, 0, 2])
    assert len(ax.lines) == 3
    assert [label.get_text() for label in ax.get_yticklabels()] == ["4", "0", "2"]
    for above, below in zip(ax.lines[:-1], ax.lines[1:], strict=True):
        assert above.get_ydata().min() > below.get_ydata().max()
    shape = ax.lines[0].get_ydata()
    assert np.allclose(shape - shape[0], v[:, 4] - v[0, 4])


@pytest.mark.parametrize(
    ("low", "high", "shown"), [(-0.05, 1.0, ["0", "1"]), (-71.0, -48.0, ["-70", "-50"]), (0.0, 0.0, ["0"])]
)
def test_stacked_membranes_have_a_scale(low, high, shown, ax):
    v = torch.tensor([[low, high], [high, low]])
    plot.membrane(v, ax=ax, v_threshold=None)
    (side,) = ax.child_axes
    assert [label.get_text() for label in side.get_yticklabels()] == shown * 2
    above, below = (line.get_ydata() for line in ax.lines)
    values = np.array([float(text) for text in shown])
    expected = [*(values - low + above[0]), *(values - high + below[0])]
    assert np.allclose(side.get_yticks(), expected)
    assert plot.membrane(v[:, 0], ax=Figure().subplots()).child_axes == []  # its own axis is one


def test_potentials_without_spikes_are_not_said_to_be_reset(ax):
    plot.membrane([0.5, 0.75], ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["potential", "threshold"]


def test_a_threshold_that_moves(ax):
    v, threshold = torch.rand(7, 2, 3), 1 + torch.rand(7, 2, 3)
    plot.membrane(v, ax=ax, v_threshold=threshold, sample=1)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    assert np.allclose(dashed[0].get_ydata(), threshold[:, 1, 0])
    plot.membrane(v, ax=ax, v_threshold=torch.tensor(1.0))
    with pytest.raises(ShapeError, match="`v_threshold` must be a number or as `v`"):
        plot.membrane(v, ax=ax, v_threshold=torch.ones(5, 3))


def test_membrane_of_one_time_step_is_visible(ax):
    plot.membrane(torch.zeros(1, 1), ax=ax, v_threshold=None)
    assert ax.lines[0].get_marker() == "."
    assert ax.get_ylim()[0] < 0 < ax.get_ylim()[1]


def test_heatmap(ax):
    values = torch.rand(T, NEURONS)
    assert plot.heatmap(values, ax, colorbar_label="potential") is ax
    assert np.allclose(ax.images[0].get_array(), values.T)
    assert ax.get_xlim() == (-0.5, T - 0.5)
    assert ax.figure.axes[1].get_ylabel() == "potential"


def test_heatmap_in_other_units_of_time(ax):
    plot.heatmap(torch.rand(T, NEURONS), ax, colorbar=False, x_max=0.5)
    assert ax.get_xlim() == (0.0, 0.5)  # half a step is no half of another unit
    assert len(ax.figure.axes) == 1


def test_feature_maps(ax):
    maps = torch.arange(5.0)[:, None, None].expand(5, 2, 3)
    plot.feature_maps(maps, ax, num_columns=2)
    canvas = ax.images[0].get_array()
    assert canvas.shape == (3 * 2 + 2, 2 * 3 + 1)
    assert canvas[3, 4] == 3.0
    assert np.ma.getmaskarray(canvas)[2].all()
    with pytest.raises(ShapeError, match="must fit into 2 x 2, got 5 maps"):
        plot.feature_maps(maps, ax, num_rows=2, num_columns=2)
    with pytest.raises(ShapeError, match=r"\[C, H, W\]"):
        plot.feature_maps(maps[None], ax)


def test_receptive_fields(ax):
    weights = torch.arange(3 * 6.0).view(3, 6).requires_grad_()
    canvas = plot.receptive_fields(weights, (2, 3), ax, num_columns=3).images[0].get_array()
    assert canvas.shape == (2, 11)
    np.testing.assert_array_equal(canvas[:, 4:7], [[6, 7, 8], [9, 10, 11]])
    assert ax.figure.axes[1].get_ylabel() == "weight"
    assert ax.get_title() == "Weights into 3 neurons"
    beneath = Figure().subplots()
    beneath.imshow(np.zeros((2, 11)))
    assert plot.receptive_fields(weights, (2, 3), beneath).figure.axes[1].get_ylabel() == "weight"
    for wrong, shape in ((weights, (3, 3)), (weights[0], (2, 3)), (weights, (6,)), (weights[None], (2, 3))):
        with pytest.raises(ShapeError, match=r"`weights` must be \[neurons, H \* W\]"):
            plot.receptive_fields(wrong, shape, ax)


def test_event_frames(ax):
    frames = torch.zeros(3, 2, 4, 5)
    frames[0, 1, 0, 0], frames[1, 0, 2, 3], frames[2, :, 1, 1], frames[2, 1, 3, 4] = 2, 2, 2, 1
    plot.event_frames(frames, ax, num_columns=2, on_color="red", off_color="blue")
    canvas = np.asarray(ax.images[0].get_array())
    assert canvas.shape == (2 * 4 + 1, 2 * 5 + 1, 3)
    assert canvas[0, 0].tolist() == [1, 0, 0]  # ON is red
    assert canvas[2, 6 + 3].tolist() == [0, 0, 1]  # OFF is blue
    assert canvas[5 + 1, 1].tolist() == [0, 0, 0]  # both
    assert canvas[1, 1].tolist() == [1, 1, 1]  # neither
    assert 0 < canvas[5 + 3, 4, 1] < 1  # one event is paler than two
    assert len(np.unique(canvas[4])) == 1  # the gap
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ON", "OFF", "both"]
    other = plot.event_frames(frames[:2], Figure().subplots())
    assert [text.get_text() for text in other.get_legend().get_texts()] == ["ON", "OFF"]
    assert ax.get_title() == "3 frames of 4 x 5"


def test_event_frames_of_a_batch_and_of_one_frame():
    first, second, single, silent = Figure().subplots(4)
    batch = torch.zeros(3, 2, 2, 4, 5)  # [T, N, 2, H, W]
    batch[:, 1, 1] = 1
    plot.event_frames(batch, first)
    plot.event_frames(batch.bool(), second, sample=1, on_color="red")
    plot.event_frames(batch[0, 1], single, on_color="red")
    plot.event_frames(torch.zeros(1, 2, 4, 5), silent)
    assert np.asarray(first.images[0].get_array())[0, 0].tolist() == [1, 1, 1]
    assert np.asarray(second.images[0].get_array())[0, 0].tolist() == [1, 0, 0]
    assert single.get_title() == "1 frame of 4 x 5"
    with pytest.raises(ShapeError, match="`sample` must be from -2 to 1, of `frames`, got 2"):
        plot.event_frames(batch, sample=2)
    with pytest.raises(ShapeError, match=r"must be \[T, N, 2, H, W\] for `sample`, got shape \[3, 2, 4, 5\]"):
        plot.event_frames(batch[:, 0], sample=1)
    with pytest.raises(ShapeError, match=r"`frames` must be \[T, 2, H, W\], with channels OFF and ON"):
        plot.event_frames(torch.zeros(3, 1, 4, 5))
    with pytest.raises(ShapeError, match="`frames` must fit into 1 x 2, got 3 frames"):
        plot.event_frames(batch, num_rows=1, num_columns=2)
    with pytest.raises(ValueError, match="`frames` must be at least 0, got -1"):
        plot.event_frames(-batch, sample=1)
    with pytest.raises(ValueError, match="`gap` must be at least 0, got -1"):
        plot.event_frames(batch, gap=-1)


def history() -> list[dict]:
    losses, accuracies = [2.0, 1.0, 1.5], [0.3, None, 0.5]
    return [
        {
            "epoch": i + 1,
            "train_loss": losses[i] / 2,
            "test_loss": losses[i],
            "accuracy/test": accuracies[i],
            "lr": 0.1,
        }
        for i in range(3)
    ]


def test_curves():
    loss, accuracy = plot.curves(history())
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        "train: best 0.5 at 2, last 0.75",
        "test: best 1 at 2, last 1.5",
        "best",  # a star
        "last",  # a dot
    ]
    assert accuracy.get_legend().get_texts()[0].get_text() == "test: best 50 % at 3, last 50 %"
    assert accuracy.lines[0].get_ydata().tolist() == [30, 50]
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy in %")
    assert len(accuracy.lines[0].get_xdata()) == 2  # the missing one is left out
    assert loss.get_xlabel() == "epoch"


def test_accuracies_in_per_cent_stay_so(ax):
    (panel,) = plot.curves([{"accuracy": 0.7}, {"accuracy": 81.5}], ax=ax)
    assert panel.lines[0].get_ydata().tolist() == [0.7, 81.5]
    assert panel.get_ylabel() == "accuracy"


def test_curves_of_chosen_keys(ax):
    (panel,) = plot.curves(history(), ["lr"], ax)
    assert panel is ax
    with pytest.raises(UnknownNameError, match="Did you mean 'train_loss'"):
        plot.curves(history(), ["trainloss"])
    with pytest.raises(ShapeError, match="2 axes, one for each measure, got 1"):
        plot.curves(history(), ax=ax)
    with pytest.raises(ShapeError, match="at least one row"):
        plot.curves([])
    with pytest.raises(ShapeError, match="name a loss or an accuracy"):
        plot.curves([{"lr": 0.1}])
    with pytest.raises(ShapeError, match=r"at least one finite value of \['test_loss'\]"):
        plot.curves([{"test_loss": float("nan")}])
    for wrong in ([1.0, 0.5], None, {"loss": [1, 2]}):
        with pytest.raises(TypeError, match="`history` must"):
            plot.curves(wrong)


def test_a_training_that_diverged_has_curves():
    rows = [{"train_loss": float("nan"), "train_accuracy": 0.1}]
    loss, accuracy = plot.curves(rows, ax=Figure().subplots(2))
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        "train: nothing finite",
        "best",
        "last",
    ]
    assert "best 10 % at 1" in accuracy.get_legend().get_texts()[0].get_text()


def test_familiar_names_have_familiar_arguments_and_results():
    figure, ax = plot.plot_1d_spikes(spikes(), "Output", "step", "neuron index", figsize=(6, 4), dpi=50)
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Output", "step", "neuron index")
    assert figure.axes[1].get_title() == "firing rate"
    assert len(plot.plot_1d_spikes(spikes(), "", "", "", plot_firing_rate=False, dpi=50)[0].axes) == 1
    figure, ax = plot.plot_2d_heatmap(spikes(), "Potentials", "step", "neuron", int_x_ticks=False, dpi=50)
    assert (ax.get_title(), len(figure.axes)) == ("Potentials", 2)
    figure, ax = plot.plot_2d_feature_map(torch.rand(6, 4, 4), 2, 3, 1, "Kernels", dpi=50)
    assert ax.get_title() == "Kernels"
    figure, above, below = plot.plot_one_neuron_v_s(torch.rand(T), spikes()[:, 0], dpi=50)
    assert figure.axes == [above, below]
    assert len(segments(below)) == T // NEURONS
    assert above.get_xlim() == below.get_xlim()
    with pytest.raises(ShapeError, match=r"`v` must be one neuron's \[T\]"):
        plot.plot_one_neuron_v_s(spikes(), spikes())


REFUSED = {
    "empty": (torch.zeros(0, 3), ShapeError, r"must not be empty, got shape \[0, 3\]"),
    "empty list": ([], ShapeError, "must not be empty"),
    "a number": (torch.tensor(1.0), ShapeError, r"\[T\]"),
    "NaN": (torch.tensor([[0.0], [float("nan")]]), ValueError, r"must be finite, got nan at \[1, 0\]"),
    "infinity": ([0.0, float("inf")], ValueError, r"must be finite, got inf at \[1\]"),
    "text": (["a", "b"], TypeError, "must hold real numbers, got list"),
    "ragged": ([[0.0], [0.0, 1.0]], ShapeError, "rectangular"),
    "complex": (torch.zeros(3, dtype=torch.complex64), TypeError, "real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("function", [plot.raster, plot.membrane, plot.heatmap])
def test_refuses_with_a_reason(function, case):
    value, error, reason = REFUSED[case]
    with pytest.raises(error, match=rf"`\w+` .*{reason}"):
        function(value)
    assert pyplot.get_fignums() == []


def test_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"`sample` must be from -5 to 4, .*got 5"):
        plot.raster(spikes(), sample=5)
    with pytest.raises(ShapeError, match=r"`spikes` must be as `v`, \[20, 5\], got \[19, 5\]"):
        plot.membrane(spikes(), spikes()[1:])
    with pytest.raises(ShapeError, match=r"from 0 to 4.*got \[5\]"):
        plot.membrane(spikes(), neurons=[0, 5])
    with pytest.raises(ShapeError, match="At most 24 potentials"):
        plot.membrane(torch.zeros(3, 25))


@pytest.mark.parametrize("name", plot.__all__)
def test_every_plot_can_draw_on_axes_of_the_user(name):
    if name not in ("plot_one_neuron_v_s", "plot_2d_bar_in_3d"):  # two axes of its own; axes of another kind
        assert "ax" in inspect.signature(getattr(plot, name)).parameters


def test_importing_does_not_import_matplotlib():
    code = "import sys, spikeloom.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_times_in_other_units_have_ticks():
    ax = plot.heatmap(np.random.default_rng(0).random((20, 3)), Figure().subplots(), x_max=0.25)
    assert len([tick for tick in ax.get_xticks() if 0 <= tick <= 0.25]) > 2


@pytest.mark.parametrize("sample", [True, 1.5])
def test_a_sample_is_an_integer(sample):
    with pytest.raises(TypeError, match=f"`sample` must be an integer, got {sample}"):
        plot.heatmap(np.ones((5, 3, 4)), Figure().subplots(), sample=sample)
