"""The instruments in the browser: instrument.js reads rooms and faces as PyTorch does."""

import base64

import numpy as np
import pytest
import torch

from dcgan_book import live, measure, pretrained
from dcgan_book.latents import draw_z
from dcgan_book.live.instrument import pack_instrument
from dcgan_book.measure.network import SCHEMAS, Network

ENGINE = live.script()
READER = (live.HERE / "instrument.js").read_text(encoding="utf-8")
KERNEL = base64.b64encode((live.HERE / live.figures.BINARIES["simd"]).read_bytes()).decode()
PROBABILITY = 0.05  # allowed difference from PyTorch, on average over rooms and things

# Reads images, base64 of float32 (n, 64, 64, 3), with the engine's kernel.
READ = """async ({ engine, reader, kernel, header, data, images }) => {
  const load = (text) => import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const allocate = (size) => {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(size / 65536) });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes(kernel)), { engine: { memory } });
    return { floats: new Float32Array(memory.buffer), kernel: exports.kernel };
  };
  const instrument = (await load(reader)).instrument(allocate);
  instrument.load(header, await (await load(engine)).engine().unpack(data));
  const all = new Float32Array(bytes(images).buffer), size = 64 * 64 * 3, readings = [], times = [];
  for (let i = 0; i < all.length; i += size) {
    const began = performance.now();
    const { labels, probability, factors } = instrument.read(all.subarray(i, i + size));
    times.push(performance.now() - began);
    readings.push({ labels: [...labels], probability, factors });
  }
  return { readings, times };
}"""


@pytest.fixture(scope="module")
def generated():
    """40 generated rooms, (n, 3, 64, 64)."""
    generator = pretrained.load("rooms").generator
    with torch.no_grad():
        return generator(draw_z(40, generator.z_dim, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def tab(browser):
    tab = browser.new_page()
    yield tab
    tab.close()


def in_browser(tab, instrument, images):
    header, data = pack_instrument(instrument)
    floats = images.permute(0, 2, 3, 1).contiguous().numpy().astype("<f4").tobytes()
    return tab.evaluate(READ, {
        "engine": ENGINE, "reader": READER, "kernel": KERNEL, "header": header,
        "data": base64.b64encode(data).decode(), "images": base64.b64encode(floats).decode(),
    })  # fmt: skip


@pytest.mark.parametrize("presence", ["head", "segmenter", "both"])
def test_readings_are_pytorchs(tab, generated, presence):
    loaded = measure.load()
    instrument = measure.Instrument(loaded.network, loaded.card | {"presence": presence})
    expected = instrument.read(generated)
    readings = in_browser(tab, instrument, generated)["readings"]
    labels = np.array([reading["labels"] for reading in readings]).reshape(-1, 64, 64)
    same = (torch.from_numpy(labels) == expected.labels).float().mean().item()
    things = instrument.schema.things
    probabilities = [reading["probability"] for reading in readings]
    found = torch.tensor([[each[name] for name in things] for each in probabilities])
    wanted = torch.stack([expected.probability[name] for name in things], 1)
    agree = ((found > 0.5) == (wanted > 0.5)).float().mean().item()
    print(f"pixels {same:.4f}, presence {agree:.4f}, {(found - wanted).abs().mean():.4f} apart")
    assert same >= 0.99 and agree >= 0.99
    assert (found - wanted).abs().mean() <= PROBABILITY
    assert wanted[:, things.index("window")].std() > 0.1  # there is something to tell apart


def test_a_room_is_read_in_30_ms(tab, generated):
    times = in_browser(tab, measure.load(), generated[:10])["times"]
    print(f"{min(times):.1f} ms a room")
    assert min(times) < 30


def test_the_instrument_adds_at_most_a_megabyte():
    _, data = pack_instrument(measure.load())
    size = len(base64.b64encode(data))
    print(f"{size:,} bytes")
    assert size <= 1_000_000


def test_faces_are_read_as_pytorch_reads_them(tab):
    """With attention maps, image labels, scalars and choices."""
    generator, instrument = pretrained.load("faces").generator, measure.load("faces")
    with torch.no_grad():
        images = generator(draw_z(40, generator.z_dim, generator=torch.Generator().manual_seed(2)))
    expected = instrument.read(images)
    readings = in_browser(tab, instrument, images)["readings"]
    for name in instrument.schema.things:
        found = torch.tensor([each["probability"][name] for each in readings])
        assert (found - expected.probability[name]).abs().mean() <= PROBABILITY, name
    factors = [each["factors"] for each in readings]
    for name in instrument.schema.scalars:
        low, high = instrument.schema.world.RANGES[name]
        found = torch.tensor([each[name] for each in factors])
        assert (found - expected.factors[name]).abs().mean() <= 0.02 * (high - low), name
        assert expected.factors[name].std() > 0.02 * (
            high - low
        )  # there is something to tell apart
    for name in instrument.schema.choices:
        found = np.array([each[name] for each in factors])
        assert (found == expected.factors[name]).mean() >= 0.95, name
    assert len(set(expected.factors["presentation"])) == 2


def test_an_instrument_of_another_width_is_refused():
    odd = measure.Instrument(Network(12, SCHEMAS["rooms"]), {"presence": "head"})
    with pytest.raises(ValueError, match="the width is 12; the browser reads with multiples of 8"):
        pack_instrument(odd)
