//! Copying between slices of one tensor.

use super::TensorSlice;
use crate::error::{Result, bail};
use crate::tensor::element_count;
use smallvec::SmallVec;

/// A stretch of elements that lies together both in the source and in the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub source: usize,
    pub destination: usize,
    pub len: usize,
}

/// The runs of what two slices of a tensor have in common, in the order of the source.
pub(super) struct Runs {
    /// For each dimension outside of a run: how many steps, and the step in the source and in the destination.
    steps: SmallVec<[(usize, usize, usize); 4]>,
    indices: SmallVec<[usize; 4]>,
    next: Option<Run>,
}

impl Runs {
    /// Both slices must be within a tensor of these dimensions, whose number of elements doesn't overflow.
    pub fn new(dims: &[usize], source: &TensorSlice, destination: &TensorSlice) -> Runs {
        let mut steps = SmallVec::new();
        let mut run = Run { source: 0, destination: 0, len: 1 };
        let (mut source_stride, mut destination_stride) = (1, 1);
        let mut together = true;
        for (d, &size) in dims.iter().enumerate().rev() {
            let ((a, n), (b, m)) = (source.bounds(d, size), destination.bounds(d, size));
            let (start, end) = (a.max(b), (a + n).min(b + m));
            if start >= end {
                return Runs { steps: SmallVec::new(), indices: SmallVec::new(), next: None };
            }
            let count = end - start;
            run.source += (start - a) * source_stride;
            run.destination += (start - b) * destination_stride;
            if together {
                run.len *= count;
                // Two indices of the next dimension follow each other only if both sides have all of this one.
                together = count == n && count == m;
            } else {
                steps.push((count, source_stride, destination_stride));
            }
            source_stride *= n;
            destination_stride *= m;
        }
        steps.reverse();
        Runs { indices: SmallVec::from_elem(0, steps.len()), steps, next: Some(run) }
    }
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = self.next?;
        let mut following = run;
        self.next = None;
        for (index, &(count, source, destination)) in self.indices.iter_mut().zip(&self.steps).rev() {
            *index += 1;
            if *index < count {
                following.source += source;
                following.destination += destination;
                self.next = Some(following);
                break;
            }
            *index = 0;
            following.source -= (count - 1) * source;
            following.destination -= (count - 1) * destination;
        }
        Some(run)
    }
}

/// The stored slices that are needed for a wanted one, by their index.
///
/// # Errors
/// `Internal` (TensorFlow's code) if stored slices overlap or exceed the tensor; `InvalidArgument` if they don't cover
/// the wanted one.
pub(super) fn select(name: &str, dims: &[usize], stored: &[TensorSlice], wanted: &TensorSlice) -> Result<Vec<usize>> {
    let wanted_dims = wanted.slice_dims(dims)?;
    let total = element_count(&wanted_dims)?;
    let mut needed = Vec::new();
    let mut covered = 0usize;
    for (i, slice) in stored.iter().enumerate() {
        slice.slice_dims(dims)?;
        if slice.overlaps(wanted) {
            needed.push(i);
            let common = |d: usize| {
                let ((a, n), (b, m)) = (slice.bounds(d, dims[d]), wanted.bounds(d, dims[d]));
                (a + n).min(b + m).saturating_sub(a.max(b))
            };
            covered = covered.saturating_add((0..dims.len()).map(common).product());
        }
    }
    check_disjoint(dims, stored)?;
    if covered != total {
        bail!(
            InvalidArgument,
            "Does not have sufficient slices for partitioned tensor {name} to restore in slice_spec: {wanted}"
        );
    }
    Ok(needed)
}

/// Sweeps along the dimension that parts the slices best.
fn check_disjoint(dims: &[usize], slices: &[TensorSlice]) -> Result<()> {
    let starts = |d: usize| {
        let mut starts: Vec<usize> = slices.iter().map(|s| s.bounds(d, dims[d]).0).collect();
        starts.sort_unstable();
        starts.dedup();
        starts.len()
    };
    let axis = (0..dims.len()).max_by_key(|&d| starts(d));
    let bounds = |i: usize| axis.map_or((0, 1), |d| slices[i].bounds(d, dims[d]));
    let mut order: Vec<usize> = (0..slices.len()).collect();
    order.sort_by_key(|&i| bounds(i).0);
    let mut open: Vec<usize> = Vec::new();
    for i in order {
        let start = bounds(i).0;
        open.retain(|&j| bounds(j).0 + bounds(j).1 > start);
        if let Some(&j) = open.iter().find(|&&j| slices[j].overlaps(&slices[i])) {
            let (first, second) = (i.min(j), i.max(j));
            bail!(Internal, "Overlapping slices: existing slice = {}, new slice = {}", slices[first], slices[second]);
        }
        open.push(i);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_copy_what_is_common() {
        let dims = [3, 4, 5];
        let slices = ["-:-:-", "0,1:-:-", "1,2:-:-", "-:1,2:-", "-:-:0,5", "-:-:4,1", "2,1:0,3:1,2", "1,1:3,1:2,3", "0,3:2,2:-"];
        let contents = |slice: &TensorSlice| {
            let inside = |d: usize, i: usize| {
                let (start, n) = slice.bounds(d, dims[d]);
                (start..start + n).contains(&i)
            };
            let all = (0..60usize).filter(|&e| inside(0, e / 20) && inside(1, e / 5 % 4) && inside(2, e % 5));
            all.collect::<Vec<_>>()
        };
        for a in slices {
            for b in slices {
                let (a, b) = (TensorSlice::parse(a).unwrap(), TensorSlice::parse(b).unwrap());
                let (source, wanted) = (contents(&a), contents(&b));
                let mut copied = vec![usize::MAX; wanted.len()];
                let mut last = 0;
                for run in Runs::new(&dims, &a, &b) {
                    assert!(run.source >= last, "{a} to {b}");
                    last = run.source + run.len;
                    copied[run.destination..][..run.len].copy_from_slice(&source[run.source..last]);
                }
                let expected: Vec<_> = wanted.iter().map(|e| if source.contains(e) { *e } else { usize::MAX }).collect();
                assert_eq!(copied, expected, "{a} to {b}");
                assert_eq!(a.overlaps(&b), Runs::new(&dims, &a, &b).next().is_some());
            }
        }
        let run = |a: &str, b: &str| Runs::new(&dims, &a.parse().unwrap(), &b.parse().unwrap()).count();
        assert_eq!([run("-:-:-", "-:-:-"), run("1,2:-:-", "-:-:-"), run("-:1,2:-", "-:-:-")], [1, 1, 3]);
        assert_eq!(Runs::new(&[], &TensorSlice::full(0), &TensorSlice::full(0)).count(), 1);
    }

    #[test]
    fn slices_must_cover_and_not_overlap() {
        let select = |stored: &[&str], wanted: &str| {
            let stored: Vec<TensorSlice> = stored.iter().map(|s| s.parse().unwrap()).collect();
            select("w", &[4, 6], &stored, &wanted.parse().unwrap()).map_err(|e| e.message().to_string())
        };
        assert_eq!(select(&["0,2:-", "2,2:-"], "-:-"), Ok(vec![0, 1]));
        assert_eq!(select(&["0,2:-", "2,2:-"], "2,1:3,1"), Ok(vec![1]));
        assert_eq!(select(&["-:0,3", "0,2:3,3", "2,2:3,3"], "1,2:2,2"), Ok(vec![0, 1, 2]));
        let missing = "Does not have sufficient slices for partitioned tensor w to restore in slice_spec: -:-";
        assert_eq!(select(&["0,2:-", "3,1:-"], "-:-"), Err(missing.into()));
        let overlap = "Overlapping slices: existing slice = 0,2:-, new slice = 1,2:-";
        assert_eq!(select(&["0,2:-", "1,2:-"], "0,1:-"), Err(overlap.into()));
        let outside = "Extent in dimension 1 out of bounds: shape = [4,6], slice = -:5,2";
        assert_eq!(select(&["-:5,2"], "-:-"), Err(outside.into()));
    }
}
