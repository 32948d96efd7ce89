"""What is done to whole networks over time, and to their spikes."""

from spikeloom.functional.fptt import fptt_online_training, fptt_online_training_init_w_ra
from spikeloom.functional.networks import (
    chunk_multi_step_forward,
    detach_net,
    evaluating,
    fresh_state,
    multi_step_forward,
    reset_net,
    seq_to_ann_forward,
    set_backend,
    set_step_mode,
)
from spikeloom.functional.recomputing import (
    checkpoint,
    checkpoint_time,
)
from spikeloom.functional.similarity import (
    kaiming_normal_conv_linear_weight,
    kernel_dot_product,
    set_threshold_margin,
    spike_similar_loss,
)
from spikeloom.functional.spikes import (
    delay,
    firing_rate,
    firing_rate_cross_entropy,
    firing_rate_mse,
    first_spike_index,
    redundant_one_hot,
    temporal_efficient_training_cross_entropy,
)

__all__ = [
    "checkpoint",
    "checkpoint_time",
    "chunk_multi_step_forward",
    "delay",
    "detach_net",
    "evaluating",
    "firing_rate",
    "firing_rate_cross_entropy",
    "firing_rate_mse",
    "first_spike_index",
    "fptt_online_training",
    "fptt_online_training_init_w_ra",
    "fresh_state",
    "kaiming_normal_conv_linear_weight",
    "kernel_dot_product",
    "multi_step_forward",
    "redundant_one_hot",
    "reset_net",
    "seq_to_ann_forward",
    "set_backend",
    "set_step_mode",
    "set_threshold_margin",
    "spike_similar_loss",
    "temporal_efficient_training_cross_entropy",
]
