"""Networks in the formats that others read: NIR for simulators and neuromorphic chips, ONNX for runtimes."""

from spikeloom.exchange.euler import EulerIntegrator, EulerNode, ThresholdNode
from spikeloom.exchange.nir_graphs import export_to_nir, import_from_nir
from spikeloom.exchange.nir_network import NIRNetwork, RecurrentNIRNetwork, Scale
from spikeloom.exchange.onnx_step import export_to_onnx

__all__ = [
    "EulerIntegrator",
    "EulerNode",
    "NIRNetwork",
    "RecurrentNIRNetwork",
    "Scale",
    "ThresholdNode",
    "export_to_nir",
    "export_to_onnx",
    "import_from_nir",
]
