"""The examples run without this project, and find what the encoder finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saip.checkpoint import load_encoder
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


def run_alone(*arguments: object) -> str:
    """Run ``persons.py`` where neither torch nor this project can be imported; what it prints."""
    script = EXAMPLES / 'persons.py'
    command = [sys.executable, '-c', BLOCKED, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
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


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium is installed')
@pytest.mark.skipif(
    not (MODULES / 'onnxruntime-web').is_dir(),
    reason=f'{MODULES} has no onnxruntime-web; SAIP_NODE_MODULES names the folder that has',
)
def test_the_page_finds_the_first_match_of_the_encoder(encoder, checkpoints, persons, tmp_path):
    """Headless: a second page hands its files to the first and shows what that finds."""
    for name in ('index.html', 'persons.js'):
        shutil.copy(EXAMPLES / 'browser' / name, tmp_path)
    (tmp_path / 'node_modules').symlink_to(MODULES)
    shutil.copy(encoder, tmp_path / 'encoder.onnx')
    shutil.copytree(persons, tmp_path / 'persons')
    names = [f'{i}.png' for i in range(6) if i != 2]
    driver = f"""
    <script type="module">
      const file = async (path) => new File([await (await fetch(path)).blob()], path);
      const put = async (id, ...paths) => {{
        const held = new DataTransfer();
        for (const path of paths) held.items.add(await file(path));
        document.getElementById(id).files = held.files;
      }};
      await put('model', 'encoder.onnx');
      await put('query', 'persons/2.png');
      await put('gallery', ...{json.dumps([f'persons/{name}' for name in names])});
      document.getElementById('search').click();
    </script>"""
    page = tmp_path / 'index.html'
    page.write_text(page.read_text().replace('</html>', f'{driver}</html>'))
    server = subprocess.Popen(
        [sys.executable, '-u', '-m', 'http.server', '0', '--bind', '127.0.0.1'],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = re.search(r'port (\d+)', server.stdout.readline())[1]
        options = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=60000']
        command = [CHROMIUM, *options, '--dump-dom', f'http://127.0.0.1:{port}/index.html']
        shown = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    finally:
        server.kill()
    found = [int(i) for i in re.findall(r'persons/(\d)\.png</figcaption>', shown)]
    wanted = [i for i in np.argsort(-cosines(checkpoints['vit'], persons, 2)) if i != 2]
    assert found[0] == wanted[0], shown[-2000:]
