//! Broadcasting: how the elements of operands of different shapes meet.

use crate::compute::pool;
use crate::error::{Error, Result};
use crate::tensor::Dims;
use smallvec::{SmallVec, smallvec};

/// N operands walked together over their broadcast shape. Adjacent dimensions in which each operand either moves or
/// stands still are one loop.
pub(crate) struct Broadcast<const N: usize> {
    /// The broadcast shape.
    pub dims: Dims,
    /// From the outermost to the innermost; there is at least one.
    loops: SmallVec<[Loop<N>; 4]>,
}

#[derive(Clone, Copy)]
struct Loop<const N: usize> {
    size: usize,
    /// By how many elements each operand moves; the innermost loop has only 0 and 1.
    steps: [usize; N],
}

/// A stretch of the result in which every operand is either contiguous or one element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<const N: usize> {
    /// Where the stretch begins in the result.
    #[cfg_attr(not(test), allow(dead_code))]
    pub start: usize,
    /// Its length.
    pub len: usize,
    /// Where each operand begins.
    pub at: [usize; N],
    /// Whether each operand moves, or is the same element throughout.
    pub moves: [bool; N],
}

impl<const N: usize> Run<N> {
    /// The part of an operand that the run reads: `len` elements, or one.
    #[inline(always)]
    pub fn part<'a, T>(&self, operand: usize, data: &'a [T]) -> &'a [T] {
        let at = self.at[operand];
        &data[at..at + if self.moves[operand] { self.len } else { 1 }]
    }
}

/// The dimensions to which two shapes broadcast; none where they don't.
pub(crate) fn broadcast_dims(a: &[usize], b: &[usize]) -> Option<Dims> {
    let rank = a.len().max(b.len());
    (0..rank)
        .map(|i| match (size_at(a, rank, i), size_at(b, rank, i)) {
            (p, q) if p == q => Some(p),
            (1, q) => Some(q),
            (p, 1) => Some(p),
            _ => None,
        })
        .collect()
}

#[inline]
fn size_at(dims: &[usize], rank: usize, i: usize) -> usize {
    (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at])
}

#[cold]
pub(crate) fn incompatible(a: &[usize], b: &[usize]) -> Error {
    let text = |dims: &[usize]| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Error::invalid_argument(format!("Incompatible shapes: [{}] vs. [{}]", text(a), text(b)))
}

impl<const N: usize> Broadcast<N> {
    /// Operands of these shapes.
    ///
    /// # Errors
    /// `InvalidArgument` where they don't broadcast.
    pub fn new(shapes: [&[usize]; N]) -> Result<Broadcast<N>> {
        if shapes.iter().all(|s| *s == shapes[0]) {
            let size = shapes[0].iter().product();
            return Ok(Broadcast { dims: shapes[0].into(), loops: smallvec![Loop { size, steps: [1; N] }] });
        }
        let mut dims = Dims::new();
        for shape in shapes {
            dims = broadcast_dims(&dims, shape).ok_or_else(|| incompatible(&dims, shape))?;
        }
        let rank = dims.len();
        let mut loops: SmallVec<[Loop<N>; 4]> = SmallVec::new();
        // From the innermost outwards; `lengths` are the elements of each operand within the dimensions seen.
        let mut lengths = [1usize; N];
        for i in (0..rank).rev() {
            if dims[i] == 1 {
                continue;
            }
            let sizes = shapes.map(|shape| size_at(shape, rank, i));
            let moves = sizes.map(|size| size != 1);
            match loops.last_mut() {
                Some(last) if (0..N).all(|n| moves[n] == (last.steps[n] != 0)) => last.size *= dims[i],
                _ => {
                    let step = |n: usize| if moves[n] { lengths[n] } else { 0 };
                    loops.push(Loop { size: dims[i], steps: std::array::from_fn(step) });
                }
            }
            for n in 0..N {
                lengths[n] *= sizes[n];
            }
        }
        if loops.is_empty() {
            loops.push(Loop { size: 1, steps: [1; N] });
        }
        loops.reverse();
        Ok(Broadcast { dims, loops })
    }

    /// The runs of the whole result, in order.
    pub fn runs(&self) -> Runs<'_, N> {
        let total = self.loops.iter().map(|l| l.size).product::<usize>();
        self.runs_within(0, total / self.inner().size.max(1))
    }

    fn inner(&self) -> &Loop<N> {
        &self.loops[self.loops.len() - 1]
    }

    fn runs_within(&self, first: usize, count: usize) -> Runs<'_, N> {
        let outer = &self.loops[..self.loops.len() - 1];
        let mut index: SmallVec<[usize; 4]> = smallvec![0; outer.len()];
        let (mut at, mut left) = ([0; N], first);
        for (level, l) in outer.iter().enumerate().rev() {
            index[level] = left % l.size.max(1);
            left /= l.size.max(1);
            for n in 0..N {
                at[n] += index[level] * l.steps[n];
            }
        }
        Runs { broadcast: self, index, at, next: first, end: first + count }
    }

    /// Calls `body` with every run and the part of `out` that it fills, from several threads where it is much work:
    /// `cost` is about how many nanoseconds an element takes.
    pub fn fill<R: Send>(&self, out: &mut [R], cost: usize, body: impl Fn(Run<N>, &mut [R]) + Sync) {
        let inner = *self.inner();
        let moves = inner.steps.map(|s| s != 0);
        let grain = grain(cost);
        if self.loops.len() == 1 {
            return pool::parallel_pieces(out, 1, grain, |start, piece| {
                let at = moves.map(|m| if m { start } else { 0 });
                body(Run { start, len: piece.len(), at, moves }, piece);
            });
        }
        pool::parallel_pieces(out, inner.size, grain.div_ceil(inner.size.max(1)), |first, piece| {
            for (run, part) in self.runs_within(first, piece.len() / inner.size).zip(piece.chunks_mut(inner.size)) {
                body(run, part);
            }
        });
    }
}

/// The elements that are worth a thread of their own, where one takes about `cost` nanoseconds.
pub(crate) fn grain(cost: usize) -> usize {
    (32 * 1024 / cost.max(1)).max(256)
}

/// The runs of a part of the result.
pub(crate) struct Runs<'a, const N: usize> {
    broadcast: &'a Broadcast<N>,
    index: SmallVec<[usize; 4]>,
    at: [usize; N],
    next: usize,
    end: usize,
}

impl<const N: usize> Iterator for Runs<'_, N> {
    type Item = Run<N>;

    #[inline]
    fn next(&mut self) -> Option<Run<N>> {
        if self.next == self.end {
            return None;
        }
        let inner = self.broadcast.inner();
        let run = Run { start: self.next * inner.size, len: inner.size, at: self.at, moves: inner.steps.map(|step| step != 0) };
        self.next += 1;
        let outer = &self.broadcast.loops[..self.broadcast.loops.len() - 1];
        for (level, l) in outer.iter().enumerate().rev() {
            self.index[level] += 1;
            for n in 0..N {
                self.at[n] += l.steps[n];
            }
            if self.index[level] < l.size {
                break;
            }
            self.index[level] = 0;
            for n in 0..N {
                self.at[n] -= l.steps[n] * l.size;
            }
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(a: &[usize], b: &[usize], runs: &[(usize, usize, usize, usize)]) {
        let broadcast = Broadcast::new([a, b]).unwrap();
        let got: Vec<_> = broadcast.runs().map(|r| (r.start, r.len, r.at[0], r.at[1])).collect();
        assert_eq!(got, runs, "{a:?} {b:?}");
        let mut out = vec![(0, 0); broadcast.dims.iter().product()];
        broadcast.fill(&mut out, 1, |run, part| {
            for (i, o) in part.iter_mut().enumerate() {
                let step = |n: usize| run.at[n] + if run.moves[n] { i } else { 0 };
                *o = (step(0), step(1));
            }
        });
        let position = |dims: &[usize], index: usize| {
            let (mut rest, mut at, mut stride) = (index, 0, 1);
            for i in (0..broadcast.dims.len()).rev() {
                let size = size_at(dims, broadcast.dims.len(), i);
                at += if size == 1 { 0 } else { rest % broadcast.dims[i] * stride };
                stride *= size;
                rest /= broadcast.dims[i];
            }
            at
        };
        for (index, &o) in out.iter().enumerate() {
            assert_eq!(o, (position(a, index), position(b, index)), "{a:?} {b:?} at {index}");
        }
    }

    #[test]
    fn dimensions_merge() {
        check(&[2, 3], &[2, 3], &[(0, 6, 0, 0)]);
        check(&[2, 3], &[], &[(0, 6, 0, 0)]);
        check(&[2, 3], &[3], &[(0, 3, 0, 0), (3, 3, 3, 0)]);
        check(&[2, 3], &[2, 1], &[(0, 3, 0, 0), (3, 3, 3, 1)]);
        check(&[2, 1], &[1, 2], &[(0, 2, 0, 0), (2, 2, 1, 0)]);
        check(&[2, 1, 4], &[3, 1], &[(0, 4, 0, 0), (4, 4, 0, 1), (8, 4, 0, 2), (12, 4, 4, 0), (16, 4, 4, 1), (20, 4, 4, 2)]);
        check(&[0, 3], &[3], &[]);
        check(&[1, 3, 1], &[2, 1, 1], &[(0, 3, 0, 0), (3, 3, 0, 1)]);
        check(
            &[2, 1, 2, 1],
            &[1, 3, 1, 2],
            &[
                (0, 2, 0, 0),
                (2, 2, 1, 0),
                (4, 2, 0, 2),
                (6, 2, 1, 2),
                (8, 2, 0, 4),
                (10, 2, 1, 4),
                (12, 2, 2, 0),
                (14, 2, 3, 0),
                (16, 2, 2, 2),
                (18, 2, 3, 2),
                (20, 2, 2, 4),
                (22, 2, 3, 4),
            ],
        );
        assert!(Broadcast::new([&[2, 3], &[2]]).is_err());
        assert_eq!(broadcast_dims(&[0, 1], &[5]).unwrap()[..], [0, 5]);
    }
}
