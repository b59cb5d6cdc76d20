//! The constants by which prompts are counted: OpenAI's as LiteLLM has them, each with a variable of its own.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::Raw;

/// Tokens of an image at low or automatic detail, and the base of one at high detail.
const IMAGE_BASE: u64 = 85;
/// Bytes of an image that are looked at for its size. JPEGs may have a preview of 64 KB before it.
const IMAGE_HEAD: usize = 128 << 10;

/// Reads what is there of an image: its end may be cut off.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How prompts are counted. The default is LiteLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counting {
    /// `FUNCTION_DEFINITION_TOKEN_COUNT`: added once when there are tools.
    pub definitions: u64,
    /// `SYSTEM_MESSAGE_TOKEN_COUNT`: taken off when there are tools and a system message, which then share a frame.
    pub system_discount: u64,
    /// `TOOL_CHOICE_OBJECT_TOKEN_COUNT`: added for a `tool_choice` that names a function.
    pub choice_object: u64,
    /// `DEFAULT_IMAGE_TOKEN_COUNT`: of an image that is not looked at.
    pub image: u64,
    /// Whether images are looked at. Where a prompt is only compared with a context window they are not.
    pub looks_at_images: bool,
    /// `DEFAULT_IMAGE_WIDTH` and `DEFAULT_IMAGE_HEIGHT`, in pixels: of an image that cannot be read, or is elsewhere.
    pub unread: (u64, u64),
    /// `MAX_SHORT_SIDE_FOR_IMAGE_HIGH_RES`, in pixels: what an image at high detail is scaled to.
    pub short_side: u64,
    /// `MAX_LONG_SIDE_FOR_IMAGE_HIGH_RES`, in pixels: unless its long side were longer than this.
    pub long_side: u64,
    /// `MAX_TILE_WIDTH` and `MAX_TILE_HEIGHT`, in pixels.
    pub tile: (u64, u64),
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            definitions: 9,
            system_discount: 4,
            choice_object: 4,
            image: 250,
            looks_at_images: true,
            unread: (300, 300),
            short_side: 768,
            long_side: 2000,
            tile: (512, 512),
        }
    }
}

impl Counting {
    /// The tokens of an `image_url`.
    pub(super) fn image_tokens(&self, image: Raw<'_>) -> u64 {
        if !self.looks_at_images {
            return self.image;
        }
        let detail = image.get("detail").and_then(Raw::as_str);
        if detail.is_none_or(|detail| detail != "high") {
            return IMAGE_BASE;
        }
        let url = image.get("url").and_then(Raw::as_str);
        let size = url.and_then(|url| size(&url)).unwrap_or(self.unread);
        IMAGE_BASE.saturating_add(self.tiles(size).saturating_mul(2 * IMAGE_BASE))
    }

    /// The tiles of an image of this size, in LiteLLM's arithmetic.
    fn tiles(&self, (width, height): (u64, u64)) -> u64 {
        let (width, height) = self.scaled(width.max(1), height.max(1));
        let along = |pixels: u64, tile: u64| pixels.div_ceil(tile.max(1));
        along(width, self.tile.0).saturating_mul(along(height, self.tile.1))
    }

    fn scaled(&self, width: u64, height: u64) -> (u64, u64) {
        if width <= self.short_side && height <= self.short_side {
            return (width, height);
        }
        let (long, short) = (width.max(height), width.min(height));
        let ratio = long as f64 / short as f64;
        let by_short = (self.short_side, (self.short_side as f64 * ratio) as u64);
        let (short, long) = match by_short.1 > self.long_side {
            true => ((self.long_side as f64 / ratio) as u64, self.long_side),
            false => by_short,
        };
        if width > height {
            (long, short)
        } else {
            (short, long)
        }
    }
}

/// The size of an image that is in its URL; of one that is elsewhere nobody asks.
fn size(url: &str) -> Option<(u64, u64)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    let data = kind.ends_with(";base64").then(|| data.trim().as_bytes())?;
    // Whole groups of four, so that what is cut off does not matter.
    let most = data.len().min(IMAGE_HEAD.div_ceil(3) * 4);
    let head = BASE64.decode(data.get(..most)?).ok()?;
    let size = imagesize::blob_size(&head).ok()?;
    Some((size.width as u64, size.height as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LiteLLM's own examples, and its arithmetic where a side is scaled up.
    #[test]
    fn tiles_are_counted_after_scaling() {
        let counting = Counting::default();
        for (size, scaled, tiles) in [
            ((300, 300), (300, 300), 1),
            ((768, 768), (768, 768), 4),
            ((2000, 2000), (768, 768), 4),
            ((4000, 100), (2000, 50), 4),
            ((100, 4000), (50, 2000), 4),
            ((1000, 600), (1280, 768), 6),
            ((600, 1000), (768, 1280), 6),
            ((1, 100_000), (0, 2000), 0),
        ] {
            assert_eq!(counting.scaled(size.0, size.1), scaled, "{size:?}");
            assert_eq!(counting.tiles(size), tiles, "{size:?}");
        }
        assert_eq!(counting.tiles((0, 0)), 1);
        let all = Counting {
            short_side: 100,
            long_side: 1000,
            tile: (50, 100),
            ..counting
        };
        assert_eq!(all.tiles((400, 200)), 4);
        let none = Counting {
            tile: (0, 0),
            ..counting
        };
        assert_eq!(none.tiles((2, 3)), 6);
    }

    fn png(width: u32, height: u32) -> String {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes.resize(IMAGE_HEAD * 2, 0);
        base64::prelude::BASE64_STANDARD.encode(bytes)
    }

    #[test]
    fn the_size_of_an_image_is_read_where_it_is_in_the_request() {
        let png = png(1600, 900);
        let (whole, cut) = (&png, png.get(..4001).unwrap());
        for (url, expected) in [
            (format!("data:image/png;base64,{whole}"), Some((1600, 900))),
            (format!("data:image/png;base64,{cut}"), None),
            (
                format!("data:image/png;base64,{}", &png[..4000]),
                Some((1600, 900)),
            ),
            (format!("data:image/png,{whole}"), None),
            ("data:image/png;base64,***".to_owned(), None),
            ("data:image/png;base64,".to_owned(), None),
            ("https://host/a.png".to_owned(), None),
        ] {
            assert_eq!(size(&url), expected, "{}", &url[..url.len().min(60)]);
        }
    }
}
