//! Elements that an op only moves, and strided views over them.

use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::tensor::{DType, Dims, Handle, Tensor};
use bytes::Bytes;
use smallvec::SmallVec;

/// An element that is only moved: plain bytes of one of five widths, a string, or a handle.
pub(crate) trait Item: Clone + Default + Send + Sync + 'static {
    /// The elements of a tensor.
    fn of(tensor: &Tensor) -> Result<&[Self]>;

    /// A tensor whose every element `fill` sets.
    fn build(dtype: DType, dims: &[usize], fill: impl FnOnce(&mut [Self]) -> Result<()>) -> Result<Tensor>;

    /// The tensor after a change of its elements, in place where nothing else holds them.
    fn change(tensor: Tensor, change: impl FnOnce(&mut [Self]) -> Result<()>) -> Result<Tensor>;
}

macro_rules! plain_items {
    ($($type:ty),*) => {
        $(impl Item for $type {
            fn of(tensor: &Tensor) -> Result<&[$type]> {
                let bytes = tensor.bytes()?;
                assert_eq!(tensor.dtype().size(), size_of::<$type>());
                // SAFETY: the bytes are `len` elements of this width, and the type asks for no more alignment than they have.
                Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<$type>()) })
            }

            fn build(dtype: DType, dims: &[usize], fill: impl FnOnce(&mut [$type]) -> Result<()>) -> Result<Tensor> {
                Self::change(Tensor::uninit(dtype, dims)?, fill)
            }

            fn change(mut tensor: Tensor, change: impl FnOnce(&mut [$type]) -> Result<()>) -> Result<Tensor> {
                assert_eq!(tensor.dtype().size(), size_of::<$type>());
                let bytes = tensor.bytes_mut()?;
                // SAFETY: as in `of`; elements are only moved, so that bools stay valid.
                change(unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<$type>()) })?;
                Ok(tensor)
            }
        })*
    };
}

plain_items!(u8, u16, u32, [u32; 2], [u64; 2]);

impl Item for Bytes {
    fn of(tensor: &Tensor) -> Result<&[Bytes]> {
        tensor.strings()
    }

    fn build(dtype: DType, dims: &[usize], fill: impl FnOnce(&mut [Bytes]) -> Result<()>) -> Result<Tensor> {
        Self::change(Tensor::zeros(dtype, dims)?, fill)
    }

    fn change(tensor: Tensor, change: impl FnOnce(&mut [Bytes]) -> Result<()>) -> Result<Tensor> {
        let mut items = tensor.strings()?.to_vec();
        change(&mut items)?;
        Tensor::from_strings(tensor.dims(), items)
    }
}

impl Item for Handle {
    fn of(tensor: &Tensor) -> Result<&[Handle]> {
        tensor.handles()
    }

    fn build(dtype: DType, dims: &[usize], fill: impl FnOnce(&mut [Handle]) -> Result<()>) -> Result<Tensor> {
        Self::change(Tensor::zeros(dtype, dims)?, fill)
    }

    fn change(tensor: Tensor, change: impl FnOnce(&mut [Handle]) -> Result<()>) -> Result<Tensor> {
        let mut items = tensor.handles()?.to_vec();
        change(&mut items)?;
        Tensor::from_handles(tensor.dtype(), tensor.dims(), items)
    }
}

/// Runs a block with `$T` bound to the [`Item`] type of a dtype.
macro_rules! moved {
    ($dtype:expr, $T:ident => $body:expr) => {
        match ($dtype, ($dtype).size()) {
            (crate::tensor::DType::String, _) => {
                type $T = bytes::Bytes;
                $body
            }
            (_, 0) => {
                type $T = crate::tensor::Handle;
                $body
            }
            (_, 1) => {
                type $T = u8;
                $body
            }
            (_, 2) => {
                type $T = u16;
                $body
            }
            (_, 4) => {
                type $T = u32;
                $body
            }
            (_, 8) => {
                type $T = [u32; 2];
                $body
            }
            _ => {
                type $T = [u64; 2];
                $body
            }
        }
    };
}
pub(crate) use moved;

/// Work below this many elements stays on one thread.
const GRAIN: usize = 1 << 15;

/// The side of the blocks in which a transposition goes.
const BLOCK: usize = 16;

/// The strides of row-major elements of these dimensions.
pub(crate) fn row_major(dims: &[usize]) -> SmallVec<[isize; 4]> {
    let mut strides: SmallVec<[isize; 4]> = SmallVec::from_elem(1, dims.len());
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i].max(1) as isize;
    }
    strides
}

/// A way to walk over elements: index `[i, j, ...]` of `dims` stands at `offset + i * strides[0] + j * strides[1] + ...`.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The dimensions of what is walked over.
    pub dims: Dims,
    /// How far apart neighbours along each dimension stand.
    pub strides: SmallVec<[isize; 4]>,
    /// Where the first one stands.
    pub offset: usize,
}

impl View {
    /// All elements of a tensor of these dimensions.
    pub fn of(dims: &[usize]) -> View {
        View { dims: dims.into(), strides: row_major(dims), offset: 0 }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// The same walk in as few dimensions as possible, none of them of size 1.
    fn merged(&self) -> View {
        let mut merged = View { dims: Dims::new(), strides: SmallVec::new(), offset: self.offset };
        for (&dim, &stride) in self.dims.iter().zip(&self.strides) {
            if dim == 1 {
                continue;
            }
            match (merged.dims.last_mut(), merged.strides.last_mut()) {
                (Some(outer), Some(outer_stride)) if *outer_stride == stride * dim as isize => {
                    *outer *= dim;
                    *outer_stride = stride;
                }
                _ => {
                    merged.dims.push(dim);
                    merged.strides.push(stride);
                }
            }
        }
        merged
    }

    /// Copies the elements at the view's places in `from` to `to`, in order.
    pub fn read<T: Item>(&self, from: &[T], to: &mut [T]) {
        assert_eq!(self.len(), to.len());
        if to.is_empty() {
            return;
        }
        let view = self.merged();
        let Some((&first, rest)) = view.dims.split_first() else {
            to[0] = from[view.offset].clone();
            return;
        };
        let row: usize = rest.iter().product();
        parallel_pieces(to, row, GRAIN.div_ceil(row).min(first), |start, piece| {
            let part = View {
                dims: std::iter::once(piece.len() / row).chain(rest.iter().copied()).collect(),
                strides: view.strides.clone(),
                offset: view.offset.wrapping_add_signed(start as isize * view.strides[0]),
            };
            match part.transposed_axis() {
                Some(axis) => part.read_blocks(axis, from, piece),
                None => part.read_runs(from, piece),
            }
        });
    }

    /// Copies `from`, in order, to the view's places in `to`.
    pub fn write<T: Item>(&self, from: &[T], to: &mut [T]) {
        assert_eq!(self.len(), from.len());
        let mut done = 0;
        self.runs(|start, stride, count| {
            let row = &from[done..done + count];
            done += count;
            if stride == 1 {
                to[start..start + count].clone_from_slice(row);
            } else {
                let mut at = start;
                for item in row {
                    to[at] = item.clone();
                    at = at.wrapping_add_signed(stride);
                }
            }
        });
    }

    /// Calls `run` with the start, stride and length of each innermost row, in order.
    pub fn runs(&self, mut run: impl FnMut(usize, isize, usize)) {
        if self.dims.contains(&0) {
            return;
        }
        let view = self.merged();
        match view.dims.split_last() {
            None => run(view.offset, 1, 1),
            Some((&count, outer)) => {
                let stride = view.strides[outer.len()];
                walk(outer, &view.strides, view.offset, &mut |start| run(start, stride, count));
            }
        }
    }

    fn read_runs<T: Item>(&self, from: &[T], to: &mut [T]) {
        let mut done = 0;
        self.runs(|start, stride, count| {
            let row = &mut to[done..done + count];
            done += count;
            match stride {
                1 => row.clone_from_slice(&from[start..start + count]),
                0 => row.fill(from[start].clone()),
                _ => {
                    let mut at = start;
                    for item in row {
                        *item = from[at].clone();
                        at = at.wrapping_add_signed(stride);
                    }
                }
            }
        });
    }

    /// The dimension other than the last along which neighbours stand side by side.
    fn transposed_axis(&self) -> Option<usize> {
        let last = self.dims.len() - 1;
        let axis = self.strides.iter().position(|&s| s == 1)?;
        (axis != last && self.dims[axis] >= 4 && self.dims[last] >= 4).then_some(axis)
    }

    /// Reads in blocks of the last dimension and of the one along which elements stand side by side.
    fn read_blocks<T: Item>(&self, axis: usize, from: &[T], to: &mut [T]) {
        let last = self.dims.len() - 1;
        let to_strides = row_major(&self.dims);
        let (rows, columns) = (self.dims[axis], self.dims[last]);
        let (row_step, column_step) = (to_strides[axis] as usize, self.strides[last]);
        let keep = |i: &usize| *i != axis && *i != last;
        let others: Dims = (0..=last).filter(keep).map(|i| self.dims[i]).collect();
        let from_strides: SmallVec<[isize; 4]> = (0..=last).filter(keep).map(|i| self.strides[i]).collect();
        let to_outer: SmallVec<[isize; 4]> = (0..=last).filter(keep).map(|i| to_strides[i]).collect();
        let mut to_starts = Vec::with_capacity(others.iter().product());
        walk(&others, &to_outer, 0, &mut |start| to_starts.push(start));
        let mut starts = to_starts.into_iter();
        walk(&others, &from_strides, self.offset, &mut |start| {
            let to_start = starts.next().unwrap_or(0);
            for row in (0..rows).step_by(BLOCK) {
                let row_end = (row + BLOCK).min(rows);
                for column in (0..columns).step_by(BLOCK) {
                    let column_end = (column + BLOCK).min(columns);
                    for r in row..row_end {
                        let line = &mut to[to_start + r * row_step..][column..column_end];
                        let mut at = start.wrapping_add(r).wrapping_add_signed(column as isize * column_step);
                        for item in line {
                            *item = from[at].clone();
                            at = at.wrapping_add_signed(column_step);
                        }
                    }
                }
            }
        });
    }
}

/// Calls `visit` with the place of every index of `dims`, in row-major order.
fn walk(dims: &[usize], strides: &[isize], offset: usize, visit: &mut impl FnMut(usize)) {
    let Some((&dim, rest)) = dims.split_first() else { return visit(offset) };
    let mut at = offset;
    for _ in 0..dim {
        walk(rest, &strides[1..], at, visit);
        at = at.wrapping_add_signed(strides[0]);
    }
}

/// The elements of a tensor at a view's places, as a tensor of the view's dimensions.
pub(crate) fn read_view(tensor: &Tensor, view: &View) -> Result<Tensor> {
    read_view_as(tensor, view, &view.dims)
}

/// The same with other dimensions, of as many elements.
pub(crate) fn read_view_as(tensor: &Tensor, view: &View, dims: &[usize]) -> Result<Tensor> {
    moved!(tensor.dtype(), T => {
        let from = T::of(tensor)?;
        T::build(tensor.dtype(), dims, |to| {
            view.read(from, to);
            Ok(())
        })
    })
}

/// `target` with the elements of `from`, in order, at a view's places.
pub(crate) fn write_view(from: &Tensor, view: &View, target: Tensor) -> Result<Tensor> {
    moved!(from.dtype(), T => {
        let from = T::of(from)?;
        T::change(target, |to| {
            view.write(from, to);
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_as_index_arithmetic_says() {
        let dims = [3usize, 5, 7, 6];
        let values: Vec<i32> = (0..dims.iter().product::<usize>() as i32).collect();
        let tensor = Tensor::new(&dims, values).unwrap();
        for axes in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 3, 0, 2], [0, 1, 3, 2], [2, 3, 0, 1]] {
            let strides = row_major(&dims);
            let view = View {
                dims: axes.iter().map(|&a| dims[a]).collect(),
                strides: axes.iter().map(|&a| strides[a]).collect(),
                offset: 0,
            };
            let got = read_view(&tensor, &view).unwrap();
            let expected = tensor.view::<i32>().unwrap().permuted_axes(&axes[..]).iter().copied().collect::<Vec<_>>();
            assert_eq!(got.as_slice::<i32>().unwrap(), expected, "{axes:?}");
            let mut back = vec![0u32; values_len(&dims)];
            view.write(u32::of(&got).unwrap(), &mut back);
            assert_eq!(back, u32::of(&tensor).unwrap(), "{axes:?}");
        }
    }

    fn values_len(dims: &[usize]) -> usize {
        dims.iter().product()
    }

    #[test]
    fn negative_and_zero_strides() {
        let tensor: Tensor = "str[\"a\" \"b\" \"c\"]".parse().unwrap();
        let view = View { dims: Dims::from_slice(&[2, 3]), strides: SmallVec::from_slice(&[0, -1]), offset: 2 };
        assert_eq!(read_view(&tensor, &view).unwrap().to_string(), r#"str[["c" "b" "a"] ["c" "b" "a"]]"#);
    }
}
