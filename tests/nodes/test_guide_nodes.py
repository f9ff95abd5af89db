"""Guide nodes: what they refuse, and that large pictures are encoded in tiles."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def node(pack, host):
    """`node("LTX2_ApplyGuides")` is that node's class."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return classes.__getitem__


@pytest.fixture
def error(pack):
    return pack("ltx2.errors").LTX2Error


@pytest.fixture
def vae(pack, tiny_models):
    return pack("ltx2.recipe").VideoVAERecipe.open(next((tiny_models("2.3") / "checkpoints").glob("*dev*")))


def latent(pack, height=2, width=2):
    return {"samples": torch.zeros(1, 128, 2, height, width), "ltx2": pack("ltx2.latents").Clip(24.0)}


def guides_of(node, image):
    (guides,) = node("LTX2_ImageGuide").execute(image=image, frame=0, strength=1.0, crf=0).args
    return guides


@pytest.mark.parametrize("image", ["picture.png", torch.zeros(32, 32, 3), {"samples": 1}])
def test_an_image_must_be_one(node, error, image):
    with pytest.raises(error, match="image must be an IMAGE, .*; got .*: connect"):
        guides_of(node, image)


def test_every_guide_must_be_one(node, pack, error, vae):
    image = torch.zeros(1, 32, 32, 3)
    for guides in ("text", ("text",), (*guides_of(node, image), 3)):
        with pytest.raises(error, match="must come from LTX-2 Image Guide; got (str|int)"):
            node("LTX2_ApplyGuides").execute(video=latent(pack), guides=guides, video_vae=vae)
        with pytest.raises(error, match="must come from LTX-2 Image Guide; got (str|int)"):
            node("LTX2_ImageGuide").execute(image=image, frame=0, strength=1.0, crf=0, guides=guides)


def test_large_pictures_are_encoded_in_tiles(node, pack, vae, monkeypatch):
    """Where the automatic choice tiles, the result is the tiled encoding; elsewhere it is the whole one."""
    image = torch.rand(1, 64, 320, 3, generator=torch.Generator().manual_seed(3))

    def applied():
        (out,) = (
            node("LTX2_ApplyGuides")
            .execute(video=latent(pack, 2, 10), guides=guides_of(node, image), video_vae=vae)
            .args
        )
        return out["ltx2"].conditions[0].latent

    whole = applied()
    monkeypatch.setattr(pack("ltx2.runtime.tiling"), "_DEFAULT_TILE_VOLUME", 2 * 64 * 256)
    tiled = applied()
    assert tiled.shape == whole.shape == (1, 128, 1, 2, 10)
    assert not tiled.requires_grad
    assert not torch.equal(tiled, whole)
    torch.testing.assert_close(tiled[..., :1], whole[..., :1], rtol=0, atol=1e-2)
