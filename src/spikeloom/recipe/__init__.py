"""What to reproduce: one file per experiment, with its claim, its cost, its settings, and how it is built."""

from spikeloom.recipe.ann2snn import Ann2Snn
from spikeloom.recipe.base import RECIPES, BaseRecipe, Recipe
from spikeloom.recipe.blobs import Blobs
from spikeloom.recipe.diehl_cook import DiehlCookRecipe
from spikeloom.recipe.dspike import DspikeRecipe
from spikeloom.recipe.eprop import EProp
from spikeloom.recipe.eventprop import EventProp
from spikeloom.recipe.lif_fc import LifFc
from spikeloom.recipe.relpsp import ReLPSP
from spikeloom.recipe.sew_resnet import SewResNet
from spikeloom.recipe.spikeprop import SpikeProp
from spikeloom.recipe.spikeprop_xor import SpikePropXor
from spikeloom.recipe.stbp_mlp import StbpMlp
from spikeloom.recipe.stbp_scnn import StbpScnn
from spikeloom.recipe.stdp_demo import StdpDemo
from spikeloom.recipe.stdp_fc import StdpFc
from spikeloom.recipe.tempotron import Tempotron
from spikeloom.recipe.trained import load

__all__ = [
    "RECIPES",
    "Ann2Snn",
    "BaseRecipe",
    "Blobs",
    "DiehlCookRecipe",
    "DspikeRecipe",
    "EProp",
    "EventProp",
    "LifFc",
    "ReLPSP",
    "Recipe",
    "SewResNet",
    "SpikeProp",
    "SpikePropXor",
    "StbpMlp",
    "StbpScnn",
    "StdpDemo",
    "StdpFc",
    "Tempotron",
    "load",
]
