"""Layers over time: those of ``torch.nn`` with a step mode, containers, dropout, delays, normalisation.

Element-wise modules (``nn.ReLU``), ``nn.LayerNorm`` and ``nn.Identity`` need no version here: they take
sequences as they are.
"""

from spikeloom.layer.attention import (
    MultiDimensionalAttention,
    MultiStepTemporalWiseAttention,
    TemporalWiseAttention,
)
from spikeloom.layer.batch_norm_through_time import (
    BatchNormThroughTime1d,
    BatchNormThroughTime2d,
    BatchNormThroughTime3d,
)
from spikeloom.layer.containers import MultiStepContainer, SeqToANNContainer, StepModeContainer
from spikeloom.layer.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from spikeloom.layer.delay import Delay, LearnableDelay
from spikeloom.layer.drop_connect import DropConnectLinear
from spikeloom.layer.dropout import (
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    MultiStepDropout,
    MultiStepDropout2d,
)
from spikeloom.layer.linear import Flatten, Linear
from spikeloom.layer.neu_norm import NeuNorm
from spikeloom.layer.normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm
from spikeloom.layer.pooled_node import PooledNode
from spikeloom.layer.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from spikeloom.layer.print_shape import PrintShapeModule
from spikeloom.layer.recurrent import ElementWiseRecurrentContainer, LinearRecurrentContainer
from spikeloom.layer.sign import constrain_sign, dale
from spikeloom.layer.synapse_filter import SynapseFilter
from spikeloom.layer.synchronised import synchronise_batch_norm
from spikeloom.layer.temporal_effective_batch_norm import (
    TemporalEffectiveBatchNorm1d,
    TemporalEffectiveBatchNorm2d,
    TemporalEffectiveBatchNorm3d,
)
from spikeloom.layer.threshold_dependent_batch_norm import (
    MultiStepThresholdDependentBatchNorm1d,
    MultiStepThresholdDependentBatchNorm2d,
    MultiStepThresholdDependentBatchNorm3d,
    ThresholdDependentBatchNorm1d,
    ThresholdDependentBatchNorm2d,
    ThresholdDependentBatchNorm3d,
)
from spikeloom.layer.time_last import TLastMultiStepContainer, TLastSeqToANNContainer
from spikeloom.layer.time_wise import TimeWise
from spikeloom.layer.upsample import Upsample
from spikeloom.layer.voting import VotingLayer
from spikeloom.layer.weight_standardised import WSConv2d, WSLinear

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormThroughTime1d",
    "BatchNormThroughTime2d",
    "BatchNormThroughTime3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Delay",
    "DropConnectLinear",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "ElementWiseRecurrentContainer",
    "Flatten",
    "GroupNorm",
    "LearnableDelay",
    "Linear",
    "LinearRecurrentContainer",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "MultiDimensionalAttention",
    "MultiStepContainer",
    "MultiStepDropout",
    "MultiStepDropout2d",
    "MultiStepTemporalWiseAttention",
    "MultiStepThresholdDependentBatchNorm1d",
    "MultiStepThresholdDependentBatchNorm2d",
    "MultiStepThresholdDependentBatchNorm3d",
    "NeuNorm",
    "PooledNode",
    "PrintShapeModule",
    "SeqToANNContainer",
    "StepModeContainer",
    "SynapseFilter",
    "TLastMultiStepContainer",
    "TLastSeqToANNContainer",
    "TemporalEffectiveBatchNorm1d",
    "TemporalEffectiveBatchNorm2d",
    "TemporalEffectiveBatchNorm3d",
    "TemporalWiseAttention",
    "ThresholdDependentBatchNorm1d",
    "ThresholdDependentBatchNorm2d",
    "ThresholdDependentBatchNorm3d",
    "TimeWise",
    "Upsample",
    "VotingLayer",
    "WSConv2d",
    "WSLinear",
    "constrain_sign",
    "dale",
    "synchronise_batch_norm",
]
