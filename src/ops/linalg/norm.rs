//! Norms, and products that sum over named axes.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::math::functions::Axes;

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormOrder {
    /// The root of the sum of squares, of vectors and of matrices.
    Euclidean,
    /// The largest absolute value; of matrices the largest sum of a row's absolute values.
    Infinity,
    /// The p-norm. Of matrices, 1 is the largest sum of a column's absolute values.
    P(f64),
}

/// Over which axes [`Graph::tensordot`] sums.
#[derive(Clone, Debug)]
pub enum TensordotAxes {
    /// So many last axes of the first tensor and first axes of the second.
    Count(usize),
    /// These axes of the first and of the second.
    These(Vec<i32>, Vec<i32>),
}

impl Graph {
    /// The norm of a tensor over all axes, one axis (vectors) or two (matrices) (`tf.norm`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range or other than one or two; `Unimplemented` for the 2-norm of matrices.
    pub fn norm(&self, tensor: Output, order: NormOrder, axes: Option<&[i32]>, keep_dims: bool) -> Result<Output> {
        let matrix = match axes {
            Some([_]) | None => false,
            Some([a, b]) if a != b => true,
            Some(other) => {
                bail!(InvalidArgument, "'axis' must be None, an integer, or a tuple of 2 unique integers, got {other:?}")
            }
        };
        if matrix && matches!(order, NormOrder::P(p) if p == 2.0) {
            bail!(Unimplemented, "the 2-norm of matrices is the largest of `singular_values`");
        }
        if matches!(order, NormOrder::P(p) if !(p > 0.0) || (matrix && p != 1.0)) {
            bail!(InvalidArgument, "'ord' must be a supported norm, got {order:?}");
        }
        let (g, _scope) = self.enter("norm")?;
        let over = |axes: Option<&[i32]>| axes.map_or(Axes::All, Axes::from);
        let one = |at: usize| axes.and_then(|a| a.get(at).copied()).map_or(Axes::All, Axes::from);
        let euclidean = order == NormOrder::Euclidean || order == NormOrder::P(2.0);
        let result = if euclidean {
            let square = g.mul(tensor, g.conj(tensor)?)?;
            g.sqrt(g.reduce_sum(square, over(axes), true)?)?
        } else {
            let size = g.abs(tensor)?;
            match order {
                NormOrder::P(1.0) => {
                    let sum = g.reduce_sum(size, one(0), true)?;
                    if matrix { g.reduce_max(sum, one(1), true)? } else { sum }
                }
                NormOrder::P(p) => {
                    let power = g.math_pow(size, p)?;
                    let sum = g.reduce_sum(power, over(axes), true)?;
                    g.math_pow(sum, 1.0 / p)?
                }
                _ => {
                    let rows = if matrix { g.reduce_sum(size, one(1), true)? } else { size };
                    g.reduce_max(rows, one(0), true)?
                }
            }
        };
        if keep_dims {
            return Ok(result);
        }
        g.squeeze(result, &axes.unwrap_or(&[]).iter().map(|&a| i64::from(a)).collect::<Vec<_>>())
    }

    /// Einstein's sum (`tf.einsum`): `"ij,jk->ik"` is a product of matrices, `"ii->"` a trace, `"...ij->...ji"` a transposition
    /// of batches. Without an arrow the output has the labels that are there once, in alphabetic order. More than two inputs
    /// are taken pairwise from the left.
    ///
    /// # Errors
    /// `InvalidArgument` for an equation that doesn't fit the inputs.
    pub fn einsum(&self, equation: &str, inputs: &[Output]) -> Result<Output> {
        let (g, _scope) = self.enter("einsum")?;
        let equation: String = equation.chars().filter(|c| *c != ' ').collect();
        let (left, output) = match equation.split_once("->") {
            Some((left, right)) => (left.to_string(), right.to_string()),
            None => (equation.clone(), implied_output(&equation)),
        };
        let mut subscripts: Vec<String> = left.split(',').map(str::to_string).collect();
        if subscripts.len() != inputs.len() {
            bail!(InvalidArgument, "Got {} inputs for equation \"{equation}\", expecting {}", inputs.len(), subscripts.len());
        }
        let letters: String = output.replace("...", "");
        let repeated = letters.char_indices().find(|(i, c)| letters[..*i].contains(*c));
        if let Some((_, label)) = repeated {
            bail!(InvalidArgument, "Output subscripts contain the label {label} more than once: {equation}");
        }
        let node =
            |inputs: &[Output], equation: String| g.op("Einsum").input_list(inputs).attr("equation", equation.as_str()).output();
        let mut operands = inputs.to_vec();
        while operands.len() > 2 {
            let rest = format!("{}{output}", subscripts[2..].concat());
            let both = format!("{}{}", subscripts[0], subscripts[1]);
            let mut kept = if both.contains("...") { "...".to_string() } else { String::new() };
            for c in both.chars().filter(|c| *c != '.' && rest.contains(*c)) {
                if !kept.contains(c) {
                    kept.push(c);
                }
            }
            let product = node(&operands[..2], format!("{},{}->{kept}", subscripts[0], subscripts[1]))?;
            operands.splice(..2, [product]);
            subscripts.splice(..2, [kept]);
        }
        node(&operands, format!("{}->{output}", subscripts.join(",")))
    }

    /// The sum over products along some axes of two tensors (`tf.tensordot`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range or sizes that differ, `Unimplemented` for an unknown rank.
    pub fn tensordot(&self, a: Output, b: Output, axes: TensordotAxes) -> Result<Output> {
        let (g, scope) = self.enter("Tensordot")?;
        let (Some(rank_a), Some(rank_b)) = (g.shape(a)?.rank(), g.shape(b)?.rank()) else {
            bail!(Unimplemented, "tensordot needs tensors of known rank");
        };
        let (axes_a, axes_b) = match axes {
            TensordotAxes::Count(n) if n > rank_a => {
                bail!(
                    InvalidArgument,
                    "`axes` must not be larger than the number of dimensions of tensor a. Received {n}, vs {rank_a}."
                )
            }
            TensordotAxes::Count(n) => ((rank_a - n..rank_a).map(|i| i as i32).collect(), (0..n as i32).collect()),
            TensordotAxes::These(a, b) if a.len() != b.len() => {
                bail!(InvalidArgument, "Different number of contraction axes `a` and `b`, {} != {}.", a.len(), b.len())
            }
            TensordotAxes::These(a, b) => (a, b),
        };
        let (matrix_a, free_a) = g.tensordot_matrix(a, rank_a, &axes_a, false)?;
        let (matrix_b, free_b) = g.tensordot_matrix(b, rank_b, &axes_b, true)?;
        let product = g.matmul(matrix_a, matrix_b)?;
        if let (Free::Known(x), Free::Known(y)) = (&free_a, &free_b) {
            let dims = [x.clone(), y.clone()].concat();
            if g.shape(product)?.to_dims().is_some_and(|d| d.as_slice() == dims) {
                return Ok(product);
            }
            return g.named(scope.name()).reshape(product, Arg::from(dims));
        }
        let (x, y) = (free_a.tensor(&g)?, free_b.tensor(&g)?);
        let shape = g.concat(&[x.into(), y.into()], 0i32)?;
        g.named(scope.name()).reshape(product, shape)
    }

    /// A tensor as a matrix of its free axes by those that are summed, or the other way round.
    fn tensordot_matrix(&self, a: Output, rank: usize, axes: &[i32], flipped: bool) -> Result<(Output, Free)> {
        let mut summed = Vec::with_capacity(axes.len());
        for &axis in axes {
            match crate::ops::math::axes::canonical_axis(i64::from(axis), rank) {
                Some(axis) => summed.push(axis),
                None => bail!(InvalidArgument, "axis {axis} is out of range for a tensor of rank {rank}"),
            }
        }
        let free: Vec<usize> = (0..rank).filter(|i| !summed.contains(i)).collect();
        let (first, second) = if flipped { (&summed, &free) } else { (&free, &summed) };
        if let Some(dims) = self.shape(a)?.to_dims() {
            let product = |axes: &[usize]| axes.iter().map(|&i| dims[i]).product::<usize>();
            let perm: Vec<usize> = first.iter().chain(second).copied().collect();
            let shape = [product(first), product(second)];
            let mut out = a;
            if perm.iter().enumerate().any(|(i, &p)| i != p) {
                out = self.transpose(out, Some(Arg::from(perm)))?;
            }
            if self.shape(out)?.to_dims().is_none_or(|d| d.as_slice() != shape) {
                out = self.reshape(out, Arg::from(shape))?;
            }
            return Ok((out, Free::Known(free.iter().map(|&i| dims[i]).collect())));
        }
        let ints = |axes: &[usize]| axes.iter().map(|&i| i as i32).collect::<Vec<i32>>();
        let named = |name: &str, axes: &[usize]| self.named(name).constant(crate::tensor::Tensor::vector(&ints(axes)));
        let summed_axes = named("axes", &summed)?;
        let free_axes = named("free", &free)?;
        let shape = self.shape_tensor(a)?;
        let free_dims = self.gather(shape, free_axes)?;
        let summed_dims = self.gather(shape, summed_axes)?;
        let free_size = self.reduce_prod(free_dims, Axes::All, false)?;
        let summed_size = self.reduce_prod(summed_dims, Axes::All, false)?;
        let (perm, sizes) = if flipped {
            (self.concat(&[summed_axes.into(), free_axes.into()], 0i32)?, [summed_size, free_size])
        } else {
            (self.concat(&[free_axes.into(), summed_axes.into()], 0i32)?, [free_size, summed_size])
        };
        let sizes = self.stack(&sizes, 0)?;
        let out = self.reshape(self.transpose(a, Some(perm.into()))?, sizes)?;
        Ok((out, Free::Tensor(free_dims)))
    }
}

/// The sizes of free axes.
enum Free {
    Known(Vec<usize>),
    Tensor(Output),
}

impl Free {
    fn tensor(&self, g: &Graph) -> Result<Output> {
        match self {
            Free::Tensor(output) => Ok(*output),
            Free::Known(dims) => g.constant(dims.iter().map(|&d| d as i32).collect::<Vec<i32>>()),
        }
    }
}

/// The ellipsis, if there is one, and the labels that are there once, in alphabetic order.
fn implied_output(equation: &str) -> String {
    let mut labels: Vec<char> = equation.chars().filter(|c| c.is_ascii_alphabetic()).collect();
    labels.sort_unstable();
    let mut once: Vec<char> = Vec::new();
    for &c in &labels {
        if labels.iter().filter(|l| **l == c).count() == 1 {
            once.push(c);
        }
    }
    let ellipsis = if equation.matches("...").count() == 1 { "..." } else { "" };
    format!("{ellipsis}{}", once.into_iter().collect::<String>())
}
