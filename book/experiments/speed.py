"""Times steps of our loop against a plain one: `python book/experiments/speed.py --help`."""

import argparse
import functools
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from dcgan_book.latents import draw_z, to_batch
from dcgan_book.training.loop import networks_of
from dcgan_book.training.machine import choose_device, choose_precision, computing, threads_of
from dcgan_book.training.recipe import PRECISIONS, TrainConfig, adam, gan_step


def plain_step(generator, discriminator, optimiser_g, optimiser_d, real, z):
    """The step as `pytorch/examples/dcgan` writes it: what `benchmark` compares with. Returns both losses in a dict."""
    ones, zeros = (
        torch.ones(len(real), device=real.device),
        torch.zeros(len(real), device=real.device),
    )
    discriminator.zero_grad()
    on_real = F.binary_cross_entropy(discriminator(real).sigmoid(), ones)
    on_real.backward()
    fake = generator(z)
    on_fake = F.binary_cross_entropy(discriminator(fake.detach()).sigmoid(), zeros)
    on_fake.backward()
    optimiser_d.step()
    generator.zero_grad()
    g_loss = F.binary_cross_entropy(discriminator(fake).sigmoid(), ones)
    g_loss.backward()
    optimiser_g.step()
    return {"d_loss": (on_real + on_fake).detach(), "g_loss": g_loss.detach()}


def plain_adam(network, lr=2e-4):
    """The optimiser of the same example."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.999))


def benchmark(config, rounds=5, clock=time.perf_counter):
    """Times steps of the plain loop and of ours in turns, and where our time goes; prints and returns it in a dict.

    `images_per_s`, plain and ours: medians over the rounds. `shares` of our step: the generator's and the
    discriminator's passes, the optimisers, and the making of a batch, which in training a thread does meanwhile.
    `of_peak`: operations of our step's convolutions over its time, as a share of what a large matrix product reaches.
    With one thread, `time.process_time` as `clock` measures on a machine that does other things too.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, as it loads Triton

    device = choose_device(config.device)
    precision = choose_precision(config.precision, device, config.width, say=True)
    pixels = np.random.default_rng(0).integers(
        0, 256, (config.batch, config.size, config.size, 3), np.uint8
    )
    real = to_batch(pixels).to(device)
    z = draw_z(config.batch, config.z_dim, config.prior).to(device)

    plain = _timed(clock, config, "fp32", plain_adam, plain_step, real.contiguous(), z)
    ours = _timed(clock, config, precision, lambda network: adam(network, 2e-4), gan_step, real, z)
    networks = [network.to(device) for network in networks_of(config)]
    with FlopCounterMode(display=False) as counter:
        gan_step(*networks, *map(plain_adam, networks), real, z)
    plain(), ours()  # the first step prepares
    times = [(plain(), ours()) for _ in range(rounds)]
    seconds = [statistics.median(column) for column in zip(*times, strict=True)]
    parts = {"G": 0.0, "D": 0.0, "optimisers": 0.0}
    for _ in range(rounds):
        ours(functools.partial(_watched, clock, parts))
    shares = {part: spent / sum(parts.values()) for part, spent in parts.items()}
    began = clock()
    to_batch(pixels)
    shares["data"] = (clock() - began) / seconds[1]
    peak = _peak(clock, device, torch.bfloat16 if precision == "bf16" else torch.float32)
    result = {
        "width": config.width,
        "batch": config.batch,
        "precision": precision,
        "images_per_s": {"plain": config.batch / seconds[0], "ours": config.batch / seconds[1]},
        "ratio": seconds[0] / seconds[1],
        "shares": shares,
        "of_peak": counter.get_total_flops() / seconds[1] / peak,
    }
    print(_report(result, rounds))
    return result


def _timed(clock, config, precision, optimiser, step, images, z):
    """A function that takes one step of new networks, in the memory format of `images`, and returns its seconds."""
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    networks = [network.to(images.device, memory_format=layout) for network in networks_of(config)]
    optimisers = [optimiser(network) for network in networks]

    def timed(step=step):
        start = clock()
        with computing(precision, images.device):
            step(*networks, *optimisers, images, z)["g_loss"].item()
        return clock() - start

    return timed


def _report(result, rounds):
    shares = ", ".join(f"{name} {share:.0%}" for name, share in result["shares"].items())
    return (
        f"plain loop, fp32: {result['images_per_s']['plain']:.1f} images/s\n"
        f"ours, {result['precision']}: {result['images_per_s']['ours']:.1f} images/s\n"
        f"ratio: {result['ratio']:.2f} (medians of {rounds} steps in turns, batch {result['batch']}, "
        f"width {result['width']}, {torch.get_num_threads()} threads)\n"
        f"our step: {shares} (data in a thread, meanwhile)\n"
        f"arithmetic: {result['of_peak']:.0%} of what a large matrix product reaches here in this precision"
    )


def _watched(clock, parts, generator, discriminator, optimiser_g, optimiser_d, real, z):
    """`gan_step`; the seconds that each part of it took are added to the dict `parts`."""
    last = clock()
    ended = iter(("G", "D", "optimisers"))  # what is over when D is about to see an image

    def mark(part):
        nonlocal last
        if real.is_cuda:
            torch.cuda.synchronize()
        now = clock()
        parts[part] += now - last
        last = now

    def see(images):
        mark(next(ended))
        if images.requires_grad:
            images.register_hook(lambda _: mark("D"))  # on its way back to G
        return images

    hooks = [
        hook
        for optimiser, part in ((optimiser_d, "D"), (optimiser_g, "G"))
        for hook in (
            optimiser.register_step_pre_hook(lambda *_, part=part: mark(part)),
            optimiser.register_step_post_hook(lambda *_: mark("optimisers")),
        )
    ]
    losses = gan_step(generator, discriminator, optimiser_g, optimiser_d, real, z, see=see)
    for hook in hooks:
        hook.remove()
    return losses


def _peak(clock, device, kind, side=2048):
    """Operations a second of a matrix product."""
    left, right = (torch.rand(side, side, device=device).to(kind) for _ in range(2))
    times = []
    for _ in range(5):
        start = clock()
        (left @ right)[0, 0].item()
        times.append(clock() - start)
    return 2 * side**3 / min(times)


def main(arguments=None):
    """The command line; both widths unless told."""
    parser = argparse.ArgumentParser(description="Time our step against a plain one.")
    parser.add_argument("--width", type=int, nargs="+", default=(64, 128), metavar="N")
    parser.add_argument("--batch", type=int, default=128, metavar="N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    parser.add_argument("--threads", type=int, metavar="N")
    options = vars(parser.parse_args(arguments))
    for width in options.pop("width"):
        config = TrainConfig(width=width, **options)
        with threads_of(config.threads):
            benchmark(config)


if __name__ == "__main__":
    main()
