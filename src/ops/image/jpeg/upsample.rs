//! Chroma planes brought to the size of the image.

/// Samples of one component, `width` of each of `height` rows.
pub(super) struct Plane {
    pub width: usize,
    pub height: usize,
    pub samples: Vec<u8>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y.min(self.height - 1) * self.width..][..self.width]
    }
}

/// A plane that is `across` times as wide and `down` times as high. Fancy upsampling by 2 interpolates; otherwise samples
/// repeat. The result may be cut to a width and height.
pub(super) fn upsample(plane: Plane, across: usize, down: usize, fancy: bool, size: [usize; 2]) -> Plane {
    let [width, height] = size;
    if across == 1 && down == 1 && plane.width == width {
        return plane;
    }
    let mut samples = Vec::with_capacity(width * height);
    let wide_enough = plane.width > 2;
    let mut line = Vec::new();
    for y in 0..height {
        let near = plane.row(y / down);
        let far = if y % 2 == 0 { plane.row((y / 2).saturating_sub(1)) } else { plane.row(y / 2 + 1) };
        line.clear();
        match (across, down) {
            (2, 1) if fancy && wide_enough => across_twice(near, &mut line),
            (2, 2) if fancy && wide_enough => both_twice(near, far, &mut line),
            (1, 2) if fancy => {
                let bias = if y % 2 == 0 { 1 } else { 2 };
                line.extend(near.iter().zip(far).map(|(&n, &f)| ((u16::from(n) * 3 + u16::from(f) + bias) >> 2) as u8));
            }
            _ => line.extend(near.iter().flat_map(|&v| std::iter::repeat_n(v, across))),
        }
        line.resize(line.len().max(width), *line.last().unwrap_or(&0));
        samples.extend_from_slice(&line[..width]);
    }
    Plane { width, height, samples }
}

fn across_twice(row: &[u8], line: &mut Vec<u8>) {
    let last = row.len() - 1;
    for (x, &value) in row.iter().enumerate() {
        let three = u16::from(value) * 3;
        line.push(if x == 0 { value } else { ((three + u16::from(row[x - 1]) + 1) >> 2) as u8 });
        line.push(if x == last { value } else { ((three + u16::from(row[x + 1]) + 2) >> 2) as u8 });
    }
}

fn both_twice(near: &[u8], far: &[u8], line: &mut Vec<u8>) {
    let sum = |x: usize| u16::from(near[x]) * 3 + u16::from(far[x]);
    let last = near.len() - 1;
    for x in 0..=last {
        let own = sum(x);
        line.push(if x == 0 { (own * 4 + 8) >> 4 } else { (own * 3 + sum(x - 1) + 8) >> 4 } as u8);
        line.push(if x == last { (own * 4 + 7) >> 4 } else { (own * 3 + sum(x + 1) + 7) >> 4 } as u8);
    }
}
