"""Networks to convert, in the ways in which people write them."""

import torch
import torch.nn.functional as F
from torch import nn

from spikeloom import ann2snn


class Residual(nn.Module):
    """Two convolutions with batch norm, an addition in place, one ReLU module used twice."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x
        return self.relu(y)


class Mixed(nn.Module):
    """Modules and functions, the number of samples read before anything else, dropout of both kinds."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.block = Residual(4)
        self.drop = nn.Dropout(0.5)
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.fc = nn.Linear(4 * 2 * 2, 3)

    def forward(self, x):
        num_samples = x.size(0)
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 2)
        x = F.dropout(self.block(x), 0.3, self.training)
        x = F.adaptive_avg_pool2d(x, 2) * self.gain
        return self.fc(self.drop(x.view(num_samples, -1)))


class OneDimensional(nn.Module):
    """Sequences ``[N, 2, 12]``; ReLU as a method and of torch, concatenation, a mean over time."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv1d(2, 3, 3, padding=1), nn.Conv1d(2, 3, 5, padding=2)
        self.pool = nn.MaxPool1d(3, stride=2, padding=1)
        self.norm = nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, 4)
        self.fc_norm = nn.BatchNorm1d(4)

    def forward(self, x):
        x = torch.cat([self.left(x).relu(), torch.relu(self.right(x))], 1)
        x = self.norm(self.pool(x)).mean(-1)
        return F.relu6(self.fc_norm(self.fc(x)))


def qcfs_net(L):
    """A convolutional network with QCFS activations and maximum pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        ann2snn.QCFS(L, threshold=0.7),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 5),
    )


def with_statistics(net, shape, batches=20):
    """The network in evaluation mode, after its batch norms have seen some samples."""
    torch.manual_seed(0)
    for _ in range(batches):
        net(torch.randn(32, *shape))
    return net.eval()


NETWORKS = {
    "mixed": (Mixed, (1, 8, 8)),
    "one-dimensional": (OneDimensional, (2, 12)),
    "sequential": (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)), (6,)),
}


def made(name):
    """A network of NETWORKS with samples for it."""
    cls, shape = NETWORKS[name]
    torch.manual_seed(1)
    net = with_statistics(cls(), shape)
    return net, torch.randn(64, *shape)
