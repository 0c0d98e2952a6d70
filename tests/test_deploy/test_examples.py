"""The examples run without this project, and find what the encoder finds."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saip.checkpoint import load_encoder
from saip.datasets.canvas import decode_image
from saip.deploy import embedded_images, export_onnx
from saip.deploy.program import FromPixels, Output, Program, image_input
from tests.tiny import ROOT
from tests.tools import call_tool

from .small import SIZE, noise, outputs_of

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

EXAMPLES = ROOT / 'examples'
BLOCKED = """
import runpy, sys
for name in ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'saip', 'timm', 'cv2'):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def run_blocked(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``persons.py`` where neither torch nor this project can be imported."""
    script = EXAMPLES / 'persons.py'
    command = [sys.executable, '-c', BLOCKED, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def run_alone(*arguments: object) -> str:
    """What ``persons.py`` prints."""
    done = run_blocked(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def persons(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('persons')
    for number, pixels in enumerate(embedded_images((120, 60), 'bicubic', 6)):
        Image.fromarray(pixels).save(folder / f'{number}.png')
    return folder


@pytest.fixture(scope='module')
def encoder(checkpoints, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('encoder') / 'encoder.onnx'
    with pytest.MonkeyPatch.context() as patch:
        assert call_tool(patch, 'export_model.py', checkpoints['vit'], out) == 0
    return out


def cosines(checkpoint: Path, persons: Path, query: int) -> np.ndarray:
    """Of each person to one of them, by the encoder itself."""
    images = [Image.open(persons / f'{i}.png').resize(SIZE[::-1], 3) for i in range(6)]
    found, _ = load_encoder(checkpoint)
    tokens = outputs_of(found, np.stack([np.asarray(x) for x in images]))['image_token']
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    return tokens @ tokens[query]


def test_a_search_ranks_as_the_encoder(encoder, checkpoints, persons, tmp_path):
    out = tmp_path / 'ranked.png'
    shown = run_alone('search', encoder, persons / '2.png', persons, out)
    rows = re.findall(r'^([-\d.]+) .*/(\d)\.png$', shown, re.M)
    wanted = cosines(checkpoints['vit'], persons, 2)
    assert [int(i) for _, i in rows] == np.argsort(-wanted).tolist()
    np.testing.assert_allclose([float(x) for x, _ in rows], np.sort(wanted)[::-1], atol=2e-4)
    assert Image.open(out).size == (7 * 136, 276)


def test_images_are_read_as_by_the_export(tmp_path):
    """Of all kinds that the project reads, to the same pixels."""
    (pixels,) = noise(1, (8, 6))
    image = Image.fromarray(pixels)
    alpha = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(8, 6) * 5)
    transparent = image.copy()
    transparent.putalpha(alpha)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    kinds = {
        'rgba.png': transparent,
        'gray.png': image.convert('L'),
        'deep.png': deep,
        'palette.png': image.quantize(8),
        'cmyk.jpg': image.convert('CMYK'),
        'turned.png': image,
    }
    load = runpy.run_path(str(EXAMPLES / 'persons.py'))['load']
    for name, kind in kinds.items():
        kind.save(tmp_path / name, **({'exif': exif} if name == 'turned.png' else {}))
        wanted = decode_image(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(load(tmp_path / name)), wanted, name)


def test_what_an_example_cannot_use_is_named(encoder, persons, tmp_path):
    (tmp_path / 'half.onnx').write_bytes(encoder.read_bytes()[:3000])
    (tmp_path / 'half.png').write_bytes((persons / '2.png').read_bytes()[:300])
    query, out = persons / '2.png', tmp_path / 'out.png'
    cases = {
        'half.onnx: damaged, or no ONNX model': [
            'search',
            tmp_path / 'half.onnx',
            query,
            persons,
        ],
        'no.onnx: no such model': ['search', tmp_path / 'no.onnx', query, persons],
        'half.png: cannot be read as an image': [
            'search',
            encoder,
            tmp_path / 'half.png',
            persons,
        ],
        'encoder.onnx: a model of encoder, not of pose': ['pose', encoder, query],
    }
    for message, arguments in cases.items():
        done = run_blocked(*arguments, out)
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not out.exists()
    for place, message in (('no/out.png', 'there is no folder'), ('out.txt', 'name an image')):
        done = run_blocked('search', encoder, query, persons, tmp_path / place)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert message in done.stderr


class Brightest(nn.Module):
    """One keypoint: the brightest cell of 4x4 pixels, at its center."""

    def forward(self, images):
        cells = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)[:, 0]
        scores, index = cells.flatten(1).max(1)
        width = cells.shape[-1]
        places = torch.stack([index % width, index // width], -1).float() * 4 + 1.5
        return places[:, None], scores[:, None]


def test_a_pose_lies_in_the_crop_that_was_given(tmp_path):
    """A white spot of the crop is found where it is, whatever the model's size and margin."""
    network = FromPixels(Brightest(), [0] * 3, [255] * 3).eval()
    outputs = (Output('keypoints', '', decoded=True), Output('scores', ''))
    about = {'keypoints': ['spot'], 'skeleton': None, 'padding': 1.25}
    inputs = image_input((128, 96), 'bilinear')
    program = Program('pose', network, inputs, outputs, about)
    (tmp_path / 'pose.onnx').write_bytes(export_onnx(program, noise(2, (128, 96)), {}).content)
    crop = np.zeros((400, 180, 3), np.uint8)
    crop[300:330, 40:70] = 255
    Image.fromarray(crop).save(tmp_path / 'crop.png')
    shown = run_alone(
        'pose', tmp_path / 'pose.onnx', tmp_path / 'crop.png', tmp_path / 'out.png'
    )
    x, y = (float(value) for value in re.match(r'spot: ([\d.]+) ([\d.]+)', shown).groups())
    assert abs(x - 54.5) < 12  # half a cell is 2 pixels of the input, about 8 of the crop
    assert abs(y - 314.5) < 12
    assert Image.open(tmp_path / 'out.png').size == (180, 400)


NODE = shutil.which('node')
needs_node = pytest.mark.skipif(NODE is None, reason='node is not installed')


def run_node(code: str, *arguments: object) -> str:
    """Run a module that imports the page's functions as ``persons``."""
    text = f"import * as persons from '{EXAMPLES}/browser/persons.js';\n{code}"
    command = [NODE, '--input-type=module', '-e', text, '--', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_node
def test_the_page_reads_a_model_description(encoder):
    code = """
    import { readFileSync } from 'node:fs';
    const meta = persons.readDescription(new Uint8Array(readFileSync(process.argv[1])));
    console.log(JSON.stringify(meta));
    """
    from saip.deploy import OnnxFile

    assert json.loads(run_node(code, encoder)) == OnnxFile.read(encoder).meta


@needs_node
def test_the_page_refuses_other_files(encoder, tmp_path):
    """Cut anywhere, a file ends the reading."""
    code = """
    import { readFileSync } from 'node:fs';
    const bytes = new Uint8Array(readFileSync(process.argv[1]));
    for (const length of [0, 1, 2, 3, 1000, 1001, 1002]) {
      try {
        persons.readDescription(bytes.subarray(0, length));
      } catch (error) {
        console.log(error.message);
      }
    }
    """
    lines = run_node(code, encoder).splitlines()
    assert lines == ['this model was not written by tools/export_model.py'] * 7


@needs_node
@pytest.mark.parametrize('name', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(64, 32), (20, 12), (41, 31), (300, 30)])
def test_the_page_resizes_as_pillow(name, size, tmp_path):
    (pixels,) = noise(1, (41, 30))
    (tmp_path / 'pixels').write_bytes(pixels.tobytes())
    code = """
    import { readFileSync, writeFileSync } from 'node:fs';
    const [input, output, width, height, name] = process.argv.slice(1);
    const pixels = new Uint8Array(readFileSync(input));
    writeFileSync(output, persons.resize(pixels, 30, 41, Number(width), Number(height), name));
    """
    run_node(code, tmp_path / 'pixels', tmp_path / 'found', size[1], size[0], name)
    found = np.frombuffer((tmp_path / 'found').read_bytes(), np.uint8).reshape(*size, 3)
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling[name.upper()])
    np.testing.assert_array_equal(found, np.asarray(resized))


@needs_node
def test_the_page_ranks_by_cosine():
    code = """
    const meta = { task: 'encoder', feature: process.argv[1] };
    const outputs = (token, patches) => ({
      image_token: { data: Float32Array.from(token) },
      patch_tokens: { data: Float32Array.from(patches), dims: [1, 2, 2] },
    });
    const features = [outputs([3, 4], [0, 1, 0, 3]), outputs([1, 0], [2, 0, 4, 0])].map((x) =>
      persons.featureOf(meta, x));
    const query = Float32Array.from([1, 0]);
    console.log(JSON.stringify(persons.rank(query, features)));
    """
    found = json.loads(run_node(code, 'image_token'))
    assert [row['index'] for row in found] == [1, 0]
    assert [row['cosine'] for row in found] == pytest.approx([1.0, 0.6])
    found = json.loads(run_node(code, 'patch_mean'))
    assert [row['cosine'] for row in found] == pytest.approx([1.0, 0.0])


CHROMIUM = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)
MODULES = Path(os.environ.get('SAIP_NODE_MODULES', EXAMPLES / 'browser/node_modules'))


DRIVER = """
<script type="module">
  const files = %s;
  const file = async (path) => new File([await (await fetch(path)).blob()], path);
  for (const [id, paths] of Object.entries(files)) {
    const held = new DataTransfer();
    for (const path of paths) held.items.add(await file(path));
    document.getElementById(id).files = held.files;
  }
  const status = document.getElementById('status');
  new MutationObserver(() => {
    if (status.textContent === 'searching ...') return;
    const shown = [...document.querySelectorAll('figcaption')].map((each) => each.textContent);
    fetch('found', { method: 'POST', body: JSON.stringify([status.textContent, ...shown]) });
  }).observe(status, { childList: true });
  document.getElementById('search').click();
</script>
</html>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and keeps what the page found."""

    def do_POST(self):
        length = int(self.headers['Content-Length'])
        self.server.found.put(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def search_in_browser(folder: Path, model: str, query: str, gallery: list[str]) -> list[str]:
    """Status and captions of the page after a search; paths are relative to the folder."""
    for name in ('index.html', 'persons.js'):
        shutil.copy(EXAMPLES / 'browser' / name, folder)
    page = folder / 'index.html'
    chosen = {'model': [model], 'query': [query], 'gallery': gallery}
    page.write_text(page.read_text().replace('</html>', DRIVER % json.dumps(chosen)))
    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.found = queue.Queue()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_port}/index.html'
    options = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        f'--user-data-dir={folder}/chrome',
    ]
    browser = subprocess.Popen(
        [CHROMIUM, *options, address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return server.found.get(timeout=120)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium is installed')
@pytest.mark.skipif(
    not (MODULES / 'onnxruntime-web').is_dir(),
    reason=f'{MODULES} has no onnxruntime-web; SAIP_NODE_MODULES names the folder that has',
)
def test_the_page_finds_what_the_encoder_finds(encoder, checkpoints, persons, tmp_path):
    (tmp_path / 'node_modules').symlink_to(MODULES.resolve())
    shutil.copy(encoder, tmp_path / 'encoder.onnx')
    shutil.copytree(persons, tmp_path / 'persons')
    gallery = [f'persons/{i}.png' for i in range(6) if i != 2]
    status, query, *shown = search_in_browser(
        tmp_path, 'encoder.onnx', 'persons/2.png', gallery
    )
    assert (status, query) == ('done', 'query')
    wanted = cosines(checkpoints['vit'], persons, 2)
    order = [i for i in np.argsort(-wanted) if i != 2]
    assert shown == [f'{wanted[i]:.3f} persons/{i}.png' for i in order]
    (tmp_path / 'half.onnx').write_bytes(encoder.read_bytes()[:3000])
    (tmp_path / 'half.png').write_bytes((persons / '0.png').read_bytes()[:200])
    (status,) = search_in_browser(tmp_path, 'half.onnx', 'persons/2.png', gallery)
    assert status.startswith('half.onnx: damaged, or no ONNX model')
    found = search_in_browser(tmp_path, 'encoder.onnx', 'half.png', gallery)
    assert found == ['half.png: cannot be read as an image']
