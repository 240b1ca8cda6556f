"""Winograd's way gives PyTorch's convolutions and gradients, and leaves the networks as they were."""

import copy

import pytest
import torch
from torch import nn

from dcgan_book import winograd as module
from dcgan_book.models import Discriminator, Generator
from dcgan_book.winograd import winograd


@pytest.fixture(autouse=True)
def narrow_layers_too(monkeypatch):
    monkeypatch.setattr(module, "FEWEST_CHANNELS", 1)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("size", [4, 8, 20])
def test_results_and_gradients_are_pytorchs(layer, size):
    network = nn.Sequential(layer(5, 7, 4, stride=2, padding=1, bias=False)).double()
    images = torch.randn(3, 5, size, size, dtype=torch.float64, requires_grad=True)
    direct = network(images)
    slope = torch.randn_like(direct)
    expected = torch.autograd.grad(direct, (images, network[0].weight), slope)
    for layout in (torch.contiguous_format, torch.channels_last):
        network.to(memory_format=layout)
        with winograd(network):
            assert type(network[0]) is not layer
            ours = network(images.to(memory_format=layout))
            found = torch.autograd.grad(ours, (images, network[0].weight), slope)
        for a, b in zip((ours, *found), (direct, *expected), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("size", [(5, 5), (6, 6), (8, 12)])
def test_sizes_that_do_not_divide_are_computed_too(layer, size):
    network = nn.Sequential(layer(2, 3, 4, stride=2, padding=1, bias=False))
    images = torch.randn(1, 2, *size)
    with winograd(network):
        ours = network(images)
    torch.testing.assert_close(ours, network(images))


def test_a_frozen_weight_or_input_gets_no_gradient():
    network = nn.Sequential(nn.Conv2d(2, 3, 4, stride=2, padding=1, bias=False)).requires_grad_(False)
    images = torch.randn(1, 2, 8, 8, requires_grad=True)
    with winograd(network):
        network(images).sum().backward()
        assert network[0].weight.grad is None and images.grad is not None
        network.requires_grad_(True)
        network(images.detach()).sum().backward()
        assert network[0].weight.grad is not None


def test_the_networks_and_their_copies_are_as_before_even_after_an_error():
    networks = Generator(4).eval(), Discriminator(4).eval()
    z = torch.randn(2, 100)
    before = networks[1](networks[0](z))
    kinds = [type(layer) for network in networks for layer in network.modules()]
    with pytest.raises(ZeroDivisionError), winograd(*networks):
        twins = copy.deepcopy(networks)
        with torch.no_grad():
            networks[0].stages["8x8"][0].weight.mul_(2)
            assert not torch.equal(twins[0](z), networks[0](z))
            networks[0].stages["8x8"][0].weight.div_(2)
        torch.testing.assert_close(networks[1](networks[0](z)), before, rtol=1e-3, atol=1e-6)
        1 / 0  # noqa: B018
    assert [type(layer) for network in networks for layer in network.modules()] == kinds
    assert torch.equal(networks[1](networks[0](z)), before)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, 5, stride=2, padding=2, bias=False),
        nn.Conv2d(4, 4, 4, stride=2, padding=1),
        nn.Conv2d(4, 4, 4, stride=2, padding=1, bias=False, groups=2),
        nn.ConvTranspose2d(4, 4, 4, bias=False),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, output_padding=1, bias=False),
        nn.Conv2d(4, 4, 4, stride=2, padding=1, dilation=2, bias=False),
        nn.Conv2d(4, 4, 4, stride=2, padding=1, padding_mode="reflect", bias=False),
    ],
)
def test_other_convolutions_are_left_alone(other):
    with winograd(nn.Sequential(other)) as (network,):
        assert type(network[0]) is type(other) and type(other) in (nn.Conv2d, nn.ConvTranspose2d)


def test_only_wide_layers_are_worth_it(monkeypatch):
    monkeypatch.undo()
    with torch.device("meta"), winograd(Generator(64), Discriminator(64)) as networks:
        fast = [
            name
            for network in networks
            for name, stage in network.stages.items()
            if type(stage[0]) not in (nn.Conv2d, nn.ConvTranspose2d)
        ]
    assert fast == ["8x8", "16x16", "8x8", "4x4"]
