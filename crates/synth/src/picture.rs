//! Tiny grey pictures that stand for scans and letters.

use crate::draw::Draw;

const SIDE: u32 = 16;

/// A valid PNG of 16 by 16 grey pixels: a bright shape on a dark ground, different each time.
pub(crate) fn scan(draw: &mut Draw) -> Vec<u8> {
    let (x, y, radius) = (draw.between(5, 10), draw.between(5, 10), draw.between(2, 5));
    let ground = draw.between(10, 60);
    encode(|column, row| {
        let distance = (column - x).pow(2) + (row - y).pow(2);
        if distance <= radius.pow(2) { 230 - distance * 4 } else { ground }
    })
}

/// A valid PNG of 16 by 16 grey pixels: dark lines of different length, as of a letter.
pub(crate) fn letter(draw: &mut Draw) -> Vec<u8> {
    let ends: Vec<i64> = (0..SIDE).map(|_| draw.between(4, 14)).collect();
    encode(|column, row| {
        let line = usize::try_from(row).expect("rows are not negative");
        if row % 2 == 1 && (1..ends[line]).contains(&column) { 40 } else { 250 }
    })
}

fn encode(shade: impl Fn(i64, i64) -> i64) -> Vec<u8> {
    let side = i64::from(SIDE);
    let pixels = (0..side).flat_map(|row| (0..side).map(move |column| (column, row)));
    let pixels = pixels.map(|(column, row)| shade(column, row).clamp(0, 255));
    let pixels: Vec<u8> =
        pixels.map(|shade| u8::try_from(shade).expect("shades are clamped")).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut image| image.write_image_data(&pixels));
    written.expect("memory takes a small picture");
    file
}
