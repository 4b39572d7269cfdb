//! Functions of TensorFlow's `array_ops` and `sort_ops` that are made of several ops.

use crate::error::{Error, Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};

impl Graph {
    /// Coordinates of a grid: for each vector a tensor of all their sizes that holds it along its own dimension
    /// (`tf.meshgrid`). With `ij` the dimensions are in the order of the vectors, otherwise the first two are exchanged.
    ///
    /// # Errors
    /// `InvalidArgument` for different dtypes.
    pub fn meshgrid(&self, vectors: &[Output], ij: bool) -> Result<Vec<Output>> {
        let (g, _scope) = self.enter("meshgrid")?;
        let rank = vectors.len();
        let along = |axis: usize| (0..rank).map(|i| if i == axis { -1i32 } else { 1 }).collect::<Vec<_>>();
        let Some(&first) = vectors.first() else { return Ok(Vec::new()) };
        let mut output = Vec::with_capacity(rank);
        for (i, &vector) in vectors.iter().enumerate() {
            output.push(g.reshape(vector, along(i))?);
        }
        let mut sizes: Vec<Output> = vectors.iter().map(|&v| g.size(v)).collect::<Result<_>>()?;
        if !ij && rank > 1 {
            output[0] = g.reshape(output[0], along(1))?;
            output[1] = g.reshape(output[1], along(0))?;
            sizes.swap(0, 1);
        }
        let ones = g.ones(sizes, g.dtype(first)?)?;
        output.into_iter().map(|o| g.operator("mul", "Mul", o, ones)).collect()
    }

    /// The elements along an axis in order (`tf.sort`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range, or one that isn't the last where the rank isn't static.
    pub fn sort(&self, values: Output, axis: i64, descending: bool) -> Result<Output> {
        let (g, _scope) = self.enter("sort")?;
        g.sorted(values, axis, descending, false)
    }

    /// Where the elements along an axis stand that would be in order (`tf.argsort`), as int32.
    ///
    /// # Errors
    /// As [`Graph::sort`].
    pub fn argsort(&self, values: Output, axis: i64, descending: bool) -> Result<Output> {
        let (g, _scope) = self.enter("argsort")?;
        g.sorted(values, axis, descending, true)
    }

    fn sorted(&self, values: Output, axis: i64, descending: bool, places: bool) -> Result<Output> {
        self.convert(&Arg::from(axis as i32), None, "axis")?;
        if descending {
            return self.sorted_down(values, axis, places);
        }
        let dtype = self.dtype(values)?;
        let highest = match dtype {
            DType::Uint8 => Some(Tensor::scalar(u8::MAX)),
            DType::Uint16 => Some(Tensor::scalar(u16::MAX)),
            DType::Uint32 => Some(Tensor::scalar(u32::MAX)),
            DType::Uint64 => Some(Tensor::scalar(u64::MAX)),
            _ => None,
        };
        // The order of the negatives of unsigned integers, or of complements, is the other way round without overflow.
        let turned = |values: Output| match &highest {
            Some(highest) => self.operator("sub", "Sub", highest, values),
            None => {
                let negative = self.op("Neg").input(values).output()?;
                if dtype.is_integer() { self.operator("sub", "Sub", negative, 1i32) } else { Ok(negative) }
            }
        };
        let sorted = self.sorted_down(turned(values)?, axis, places)?;
        if places { Ok(sorted) } else { turned(sorted) }
    }

    fn sorted_down(&self, values: Output, axis: i64, places: bool) -> Result<Output> {
        let shape = self.shape_tensor(values)?;
        let at = i32::try_from(axis).map_err(|_| Error::invalid_argument(format!("axis {axis} is out of range")))?;
        let k = self.index(shape, &[at.into()])?;
        self.rank(values)?;
        let rank = self.shape(values)?.rank();
        let last = axis == -1 || rank.is_some_and(|r| axis + 1 == r as i64);
        let order = match (last, rank) {
            (true, _) => None,
            (false, Some(rank)) => {
                let axis = super::resolve_axis(axis, rank, "axis must be")?;
                let mut order: Vec<i64> = (0..rank as i64).collect();
                order.swap(axis, rank - 1);
                Some(self.named("transposition").constant(order)?)
            }
            (false, None) => bail!(InvalidArgument, "to sort along axis {axis}, the rank must be static"),
        };
        let input = order.map_or(Ok(values), |order| self.transpose(values, Some(order.into())))?;
        let (values, indices) = self.top_k(input, k, true)?;
        let sorted = if places { indices } else { values };
        order.map_or(Ok(sorted), |order| self.transpose(sorted, Some(order.into())))
    }

    /// Repeats each element along an axis as often as `repeats` says, one number for all or one for each (`tf.repeat`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range, or numbers that don't fit the axis.
    pub fn repeat(&self, data: Output, repeats: impl Into<Arg>, axis: i64) -> Result<Output> {
        let (g, _scope) = self.enter("Repeat")?;
        let repeats = g.convert(&repeats.into(), None, "repeats")?;
        let repeats = g.op("Cast").input(repeats).attr("DstT", DType::Int32).output()?;
        g.shape(repeats)?.with_rank_at_most(1)?;
        let data = g.with_nonzero_rank(data)?;
        let data_shape = g.shape_tensor(data)?;
        let axis = match g.shape(data)?.rank() {
            Some(rank) => super::resolve_axis(axis, rank, "axis must be")?,
            None => usize::try_from(axis).map_err(|_| {
                Error::invalid_argument(format!("axis={axis} may only be negative if rank(data) is statically known."))
            })?,
        };
        let at = axis as i32;
        if g.shape(repeats)?.num_elements() == Some(1) {
            let repeats = g.reshape(repeats, Arg::List(Vec::new()))?;
            let expanded = g.expand_dims(data, at + 1)?;
            let tiled = g.tile_one_dimension(expanded, axis + 1, repeats)?;
            let before = g.index(data_shape, &[(..at).into()])?;
            let size = g.index(data_shape, &[at.into()])?;
            let size = g.operator("mul", "Mul", repeats, size)?;
            let after = g.index(data_shape, &[(at + 1..).into()])?;
            let shape = g.concat(&[before.into(), [size].into(), after.into()], 0i32)?;
            return g.reshape(tiled, shape);
        }
        let size = g.index(data_shape, &[at.into()])?;
        let original = g.broadcast_to(repeats, [size])?;
        let mut repeats = original;
        if g.shape(repeats)?.rank() != Some(axis + 1) {
            let shape = g.shape_tensor(repeats)?;
            let rank = g.rank(repeats)?;
            let count = g.operator("sub", "Sub", at + 1, rank)?;
            let outer = g.index(data_shape, &[(..count).into()])?;
            let shape = g.concat(&[outer.into(), shape.into()], 0i32)?;
            repeats = g.broadcast_to(repeats, shape)?;
            g.set_shape(repeats, Shape::of_rank(axis + 1))?;
        }
        let axes = g.constant((0..axis as i32 + 1).collect::<Vec<_>>())?;
        let most = g.op("Max").input(repeats).input(axes).attr("keep_dims", false).output()?;
        let zero = g.named("zero").constant(0i32)?;
        let most = g.op("Maximum").input(zero).input(most).output()?;
        let mask = g.sequence_mask(repeats, Some(most.into()), DType::Bool)?;
        let expanded = g.expand_dims(data, at + 1)?;
        let tiled = g.tile_one_dimension(expanded, axis + 1, most)?;
        let mut result = g.boolean_mask(tiled, mask, 0)?;
        if axis > 0 {
            let rank = g.rank(original)?;
            let axes = g.call("Range").arg(0i32).arg(rank).arg(1i32).output()?;
            let total = g.op("Sum").input(original).input(axes).attr("keep_dims", false).output()?;
            let before = g.index(data_shape, &[(..at).into()])?;
            let after = g.index(data_shape, &[(at + 1..).into()])?;
            let shape = g.concat(&[before.into(), [total].into(), after.into()], 0i32)?;
            result = g.reshape(result, shape)?;
        }
        let known = g.shape(data)?;
        if known.rank().is_some() {
            let size = (g.shape(repeats)?.dim(0) == Some(0)).then_some(0);
            let before = known.slice(0, axis as isize).push(size);
            g.set_shape(result, before.concatenate(&known.slice_from(axis as isize + 1)))?;
        }
        Ok(result)
    }

    fn tile_one_dimension(&self, data: Output, axis: usize, multiple: Output) -> Result<Output> {
        if let Some(rank) = self.shape(data)?.rank() {
            let multiples = (0..rank).map(|i| if i == axis { multiple.into() } else { Arg::from(1i32) });
            return self.tile(data, multiples.collect::<Vec<Arg>>());
        }
        let rank = self.rank(data)?;
        let ones = self.ones(rank, DType::Int32)?;
        let before = self.index(ones, &[(..axis as i32).into()])?;
        let after = self.index(ones, &[(axis as i32 + 1..).into()])?;
        let multiples = self.concat(&[before.into(), [multiple].into(), after.into()], 0i32)?;
        self.tile(data, multiples)
    }

    fn with_nonzero_rank(&self, data: Output) -> Result<Output> {
        match self.shape(data)?.rank() {
            Some(0) => self.stack(&[data], 0),
            Some(_) => Ok(data),
            None => {
                let shape = self.shape_tensor(data)?;
                let rank = self.rank(data)?;
                let longer = self.concat(&[[1i32].into(), shape.into()], 0i32)?;
                let start = self.op("Neg").input(rank).output()?;
                let shape = self.index(longer, &[(start..).into()])?;
                self.reshape(data, shape)
            }
        }
    }

    /// Gathers along the last dimension of `indices`, whose others are batch dimensions (`tf.batch_gather`).
    ///
    /// # Errors
    /// `InvalidArgument` for indices of unknown rank, or a rank above that of `params`.
    pub fn batch_gather(&self, params: Output, indices: Output) -> Result<Output> {
        let (g, _scope) = self.enter("BatchGather")?;
        let (index_shape, param_shape) = (g.shape(indices)?, g.shape(params)?);
        let Some(rank) = index_shape.rank().filter(|&r| r > 0) else {
            bail!(InvalidArgument, "batch_gather does not allow indices with unknown shape, or scalar ones.");
        };
        let batch = rank - 1;
        if param_shape.rank().is_some_and(|r| batch >= r) {
            bail!(InvalidArgument, "Argument `batch_dims` = {batch} must be less than the rank of {param_shape}");
        }
        let dtype = g.dtype(indices)?;
        let indices_shape = g.shape_tensor(indices)?;
        let params_shape = g.shape_tensor(params)?;
        let mut all = indices;
        let mut step = g.ones(Arg::List(Vec::new()), dtype)?;
        let cast_shape = g.op("Cast").input(params_shape).attr("DstT", dtype).output()?;
        for dim in (1..=batch).rev() {
            let count = g.index(cast_shape, &[(dim as i32 - 1).into()])?;
            let size = g.index(cast_shape, &[(dim as i32).into()])?;
            step = g.operator("mul", "Mul", step, size)?;
            let start = g.zeros(Arg::List(Vec::new()), dtype)?;
            let one = g.ones(Arg::List(Vec::new()), dtype)?;
            let offsets = g.op("Range").input(start).input(count).input(one).output()?;
            let offsets = g.operator("mul", "Mul", offsets, step)?;
            let mut shape = vec![Arg::from(1i32); rank];
            shape[dim - 1] = count.into();
            let shape = g.stack_args(&shape, 0)?;
            let offsets = g.reshape(offsets, shape)?;
            all = g.operator("add", "AddV2", all, offsets)?;
        }
        let flat_indices = g.reshape(all, [-1i32])?;
        let outer = g.index(params_shape, &[(batch as i32 + 1..).into()])?;
        let inner = g.index(params_shape, &[(..batch as i32 + 1).into()])?;
        let count = g.call("Prod").arg(inner).arg([0i32]).attr("keep_dims", false).output()?;
        let flat = g.concat(&[[count].into(), outer.into()], 0i32)?;
        let flat = g.reshape(params, flat)?;
        let rows = g.gather(flat, flat_indices)?;
        let shape = g.concat(&[indices_shape.into(), outer.into()], 0i32)?;
        let result = g.reshape(rows, shape)?;
        let batch = batch as isize;
        let mut known = index_shape.slice(0, batch);
        if param_shape.rank().is_some() {
            known = known.merge(&param_shape.slice(0, batch))?;
        }
        let known = known.concatenate(&index_shape.slice_from(batch)).concatenate(&param_shape.slice_from(batch + 1));
        g.set_shape(result, known)?;
        Ok(result)
    }

    /// `gather_nd` within each index of the first `batch_dims` dimensions, which `params` and `indices` share
    /// (`tf.gather_nd` with `batch_dims`).
    ///
    /// # Errors
    /// `InvalidArgument` for more batch dimensions than `indices` or `params` have.
    pub fn batch_gather_nd(&self, params: Output, indices: Output, batch_dims: usize) -> Result<Output> {
        if batch_dims == 0 {
            return self.gather_nd(params, indices);
        }
        let (g, _scope) = self.enter("BatchGatherND")?;
        for (name, shape) in [("indices", g.shape(indices)?), ("params", g.shape(params)?)] {
            if shape.rank().is_some_and(|r| batch_dims >= r) {
                bail!(
                    InvalidArgument,
                    "Argument `batch_dims` = {batch_dims} must be less than the rank of `{name}`, shape {shape}"
                );
            }
        }
        let batch = batch_dims as i32;
        let params_shape = g.shape_tensor(params)?;
        let indices_shape = g.shape_tensor(indices)?;
        let batch_shape = g.index(params_shape, &[(..batch).into()])?;
        let batch_size = g.call("Prod").arg(batch_shape).arg([0i32]).attr("keep_dims", false).output()?;
        let rank = g.rank(indices)?;
        let inner_rank = g.operator("sub", "Sub", rank, batch)?;
        let inner_rank = g.operator("sub", "Sub", inner_rank, 1i32)?;
        let inner_shape = g.index(indices_shape, &[(batch..-1).into()])?;
        let dtype = g.dtype(indices)?;
        let mut ranges = Vec::new();
        for size in g.unstack(batch_shape)? {
            let size = g.op("Cast").input(size).attr("DstT", DType::Int32).output()?;
            let range = g.call("Range").arg(0i32).arg(size).arg(1i32).output()?;
            ranges.push(g.op("Cast").input(range).attr("DstT", dtype).output()?);
        }
        let mesh = g.meshgrid(&ranges, true)?;
        let flat: Vec<Output> = mesh.into_iter().map(|m| g.reshape(m, [-1i32])).collect::<Result<_>>()?;
        let grid = g.stack(&flat, 0)?;
        let grid = g.transpose(grid, None)?;
        let grid_shape = g.shape_tensor(grid)?;
        let first = g.index(grid_shape, &[(..1).into()])?;
        let ones = g.ones(inner_rank, DType::Int32)?;
        let rest = g.index(grid_shape, &[(1..).into()])?;
        let shape = g.concat(&[first.into(), ones.into(), rest.into()], 0i32)?;
        let grid = g.reshape(grid, shape)?;
        let multiples = g.concat(&[[1i32].into(), inner_shape.into(), [1i32].into()], 0i32)?;
        let grid = g.tile(grid, multiples)?;
        let rest = g.index(indices_shape, &[(batch..).into()])?;
        let flat_shape = g.concat(&[[batch_size].into(), rest.into()], 0i32)?;
        let flat_indices = g.reshape(indices, flat_shape)?;
        let all = g.concat(&[grid.into(), flat_indices.into()], -1i32)?;
        let out = g.gather_nd(params, all)?;
        let out_shape = g.shape_tensor(out)?;
        let rest = g.index(out_shape, &[(1..).into()])?;
        let shape = g.concat(&[batch_shape.into(), rest.into()], 0i32)?;
        g.reshape(out, shape)
    }

    /// What has to be added to sizes so that they are multiples of a block's, and cropped again afterwards: two tensors
    /// `[n, 2]` (`tf.required_space_to_batch_paddings`).
    ///
    /// # Errors
    /// `InvalidArgument` where the shape of `block_shape` isn't static, or another one doesn't fit it.
    pub fn required_space_to_batch_paddings(
        &self,
        input_shape: impl Into<Arg>,
        block_shape: impl Into<Arg>,
        base_paddings: Option<Arg>,
    ) -> Result<(Output, Output)> {
        let (g, _scope) = self.enter("required_space_to_batch_paddings")?;
        let input = g.convert(&input_shape.into(), Some(DType::Int32), "input_shape")?;
        let block = g.convert(&block_shape.into(), Some(DType::Int32), "block_shape")?;
        let Some(count) = g.shape(block)?.with_rank(1)?.dim(0) else {
            bail!(InvalidArgument, "the number of block dimensions must be static");
        };
        if count == 0 {
            return Ok((g.zeros([0i32, 2], DType::Int32)?, g.zeros([0i32, 2], DType::Int32)?));
        }
        g.shape(input)?.merge(&Shape::vector(Some(count)))?;
        let base = match base_paddings {
            Some(base) => g.convert(&base, Some(DType::Int32), "base_paddings")?,
            None => g.zeros([count as i32, 2], DType::Int32)?,
        };
        g.shape(base)?.merge(&Shape::matrix(Some(count), Some(2)))?;
        if let (Some(input), Some(block), Some(base)) = (g.constant_value(input), g.constant_value(block), g.constant_value(base))
        {
            return g.known_paddings(&input.to_i64s()?, &block.to_i64s()?, &base.to_i64s()?);
        }
        let start = g.index(base, &[(..).into(), 0.into()])?;
        let end = g.index(base, &[(..).into(), 1.into()])?;
        let full = g.operator("add", "AddV2", input, start)?;
        let full = g.operator("add", "AddV2", full, end)?;
        let over = g.operator("mod", "FloorMod", full, block)?;
        let extra = g.operator("sub", "Sub", block, over)?;
        let extra = g.operator("mod", "FloorMod", extra, block)?;
        let end = g.operator("add", "AddV2", end, extra)?;
        let (mut paddings, mut crops) = (Vec::new(), Vec::new());
        for i in 0..count as i32 {
            let pair = [g.index(start, &[i.into()])?, g.index(end, &[i.into()])?];
            paddings.push(Arg::from(pair));
        }
        let paddings = g.named("paddings").stack_args(&paddings, 0)?;
        for i in 0..count as i32 {
            crops.push(Arg::from([Arg::from(0i32), g.index(extra, &[i.into()])?.into()]));
        }
        let crops = g.named("crops").stack_args(&crops, 0)?;
        Ok((paddings, crops))
    }

    fn known_paddings(&self, input: &[i64], block: &[i64], base: &[i64]) -> Result<(Output, Output)> {
        let (mut paddings, mut crops) = (Vec::new(), Vec::new());
        for (i, (&size, &block)) in input.iter().zip(block).enumerate() {
            let (start, end) = (base[2 * i], base[2 * i + 1]);
            if block < 1 {
                bail!(InvalidArgument, "block_shape[{i}] = {block} must be positive");
            }
            let extra = (size + start + end).wrapping_neg().rem_euclid(block);
            paddings.extend([start as i32, (end + extra) as i32]);
            crops.extend([0, extra as i32]);
        }
        let dims: Dims = Dims::from_slice(&[input.len(), 2]);
        let matrix = |name: &str, values| self.named(name).constant(Tensor::new(&dims, values)?);
        Ok((matrix("paddings", paddings)?, matrix("crops", crops)?))
    }

    /// Stacks tensors of one static shape (`tf.parallel_stack`).
    ///
    /// # Errors
    /// `InvalidArgument` where a shape isn't static or another.
    pub fn parallel_stack(&self, values: &[Output]) -> Result<Output> {
        let (g, _scope) = self.enter("parallel_stack")?;
        let Some(&first) = values.first() else { bail!(InvalidArgument, "there is nothing to stack") };
        let shape = Shape::vector(Some(values.len())).concatenate(&g.shape(first)?);
        let expanded: Vec<Output> = values.iter().map(|&v| g.expand_dims(v, 0i32)).collect::<Result<_>>()?;
        g.op("ParallelConcat").input_list(&expanded).attr("shape", shape).output()
    }
}
