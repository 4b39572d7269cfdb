//! Einstein sums of one or two tensors.

use super::grad;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::array::{View, permute, read_view, row_major, write_view};
use crate::ops::math::matmul::batch_product;
use crate::ops::math::number::Number;
use crate::ops::shape::broadcast_shapes;
use crate::tensor::{Dims, Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[Op {
    name: "Einsum",
    ins: &["inputs: N * T"],
    outs: &["output: T"],
    attrs: &["equation: string", "N: int >= 1", "T: type"],
    shape: infer,
    kernel: Kernel::Pure(kernel),
    grad: Grad::Fn(grad::einsum),
    rows: &[
        "equation='ij,jk->ik'; f32[[1 2] [3 4]], f32[[5] [6]] => f32[[17] [39]]",
        "equation='ii->'; i32[[1 2] [3 4]] => i32 5",
        "equation='i->ii'; f64[1 2] => f64[[1 0] [0 2]]",
        "equation='...ab,b...->a...'; f32[[[1 2]]], f32[[3 4] [5 6]] => f32[[13 16]]",
        "equation='abc->ca'; i64[[[1 2] [3 4]]] => i64[[4] [6]]",
    ],
}];

/// A place in a subscript: a letter, or the dimensions that an ellipsis stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Letter(char),
    Ellipsis,
    /// One of the dimensions of an ellipsis, counted from the last.
    Broadcast(usize),
}

struct Equation {
    inputs: Vec<Vec<Label>>,
    output: Vec<Label>,
}

fn subscript(text: &str) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if labels.contains(&Label::Ellipsis) {
                bail!(InvalidArgument, "Only one ellipsis (...) is allowed in a subscript, got {text:?}");
            }
            labels.push(Label::Ellipsis);
            rest = after;
        } else if c.is_ascii_alphabetic() {
            labels.push(Label::Letter(c));
            rest = &rest[1..];
        } else {
            bail!(InvalidArgument, "Subscripts of an einsum equation are letters and '...', got {c:?} in {text:?}");
        }
    }
    Ok(labels)
}

fn parse(equation: &str, inputs: usize) -> Result<Equation> {
    let Some((left, right)) = equation.split_once("->").filter(|(_, right)| !right.contains("->")) else {
        bail!(InvalidArgument, "Expecting exactly one '->' in einsum equation: {equation}");
    };
    let parsed = left.split(',').map(subscript).collect::<Result<Vec<_>>>()?;
    if !(1..=2).contains(&parsed.len()) {
        bail!(InvalidArgument, "Expecting 1 or 2 input subscripts in equation '{equation}' but got: {}", parsed.len());
    }
    if parsed.len() != inputs {
        bail!(InvalidArgument, "Expected {} inputs but got: {inputs}", parsed.len());
    }
    let output = subscript(right)?;
    for label in &output {
        if let Label::Letter(c) = label
            && !parsed.iter().any(|p| p.contains(label))
        {
            bail!(InvalidArgument, "Einsum output subscripts contain the label '{c}' not present in the input subscripts");
        }
    }
    Ok(Equation { inputs: parsed, output })
}

/// A subscript with a label for each of `rank` dimensions.
fn expand(labels: &[Label], index: usize, rank: usize) -> Result<Vec<Label>> {
    let Some(at) = labels.iter().position(|l| *l == Label::Ellipsis) else {
        if labels.len() != rank {
            bail!(InvalidArgument, "Expected input {index} to have rank {} but got: {rank}", labels.len());
        }
        return Ok(labels.to_vec());
    };
    let Some(count) = (rank + 1).checked_sub(labels.len()) else {
        bail!(InvalidArgument, "Expected input {index} to have rank at least {} but got: {rank}", labels.len() - 1);
    };
    let broadcast = (0..count).rev().map(Label::Broadcast);
    Ok(labels[..at].iter().copied().chain(broadcast).chain(labels[at + 1..].iter().copied()).collect())
}

/// The output's subscript with `count` dimensions in place of the ellipsis.
fn expand_output(labels: &[Label], count: usize) -> Result<Vec<Label>> {
    if !labels.contains(&Label::Ellipsis) {
        if count > 0 {
            bail!(
                InvalidArgument,
                "Output contains {count} broadcasting dimension(s) but no ellipsis (...) was found in the output subscripts."
            );
        }
        return Ok(labels.to_vec());
    }
    expand(labels, 0, labels.len() - 1 + count)
}

fn broadcast_count(labels: &[Label]) -> usize {
    labels.iter().filter(|l| matches!(l, Label::Broadcast(_))).count()
}

fn infer(ctx: &mut InferCtx) -> Result<()> {
    let equation = parse(&ctx.string("equation")?, ctx.num_inputs())?;
    let mut sizes: Vec<(Label, Option<usize>)> = Vec::new();
    let mut outer = Some(Shape::scalar());
    for (index, labels) in equation.inputs.iter().enumerate() {
        let shape = ctx.input(index);
        let ellipsis = labels.contains(&Label::Ellipsis);
        let Some(rank) = shape.rank() else {
            if ellipsis {
                outer = None;
            }
            for label in labels.iter().filter(|l| **l != Label::Ellipsis) {
                sizes.push((*label, None));
            }
            continue;
        };
        let labels = expand(labels, index, rank)?;
        let mut broadcast = Vec::new();
        for (axis, label) in labels.iter().enumerate() {
            let size = shape.dim(axis as isize);
            if let Label::Broadcast(_) = label {
                broadcast.push(size);
                continue;
            }
            match sizes.iter_mut().find(|(l, _)| l == label) {
                Some((_, known)) => match (*known, size) {
                    (Some(a), Some(b)) if a != b => {
                        bail!(
                            InvalidArgument,
                            "Expected dimension {a} at axis {axis} of the input shaped {shape} but got dimension {b}"
                        )
                    }
                    (None, size) => *known = size,
                    _ => {}
                },
                None => sizes.push((*label, size)),
            }
        }
        if let Some(known) = &outer {
            outer = Some(broadcast_shapes(known, &Shape::from(&broadcast[..]))?);
        }
    }
    let has_ellipsis = equation.output.contains(&Label::Ellipsis);
    let outer = match outer {
        Some(outer) => outer,
        None if has_ellipsis => return ctx.set(0, Shape::unknown()),
        None => Shape::scalar(),
    };
    let labels = expand_output(&equation.output, outer.rank().unwrap_or(0))?;
    let count = outer.rank().unwrap_or(0) as isize;
    let dims: Vec<Option<usize>> = labels
        .iter()
        .map(|label| match label {
            Label::Broadcast(n) => outer.dim(count - 1 - *n as isize),
            letter => sizes.iter().find(|(l, _)| l == letter).and_then(|(_, size)| *size),
        })
        .collect();
    ctx.set(0, Shape::from(&dims[..]))
}

/// A tensor whose dimensions have labels, each one once.
struct Operand {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Operand {
    /// Takes the diagonal of labels that are there more than once.
    fn new(tensor: &Tensor, labels: &[Label]) -> Result<Operand> {
        let own = row_major(tensor.dims());
        let (mut kept, mut dims, mut strides): (Vec<Label>, Dims, Vec<isize>) = (Vec::new(), Dims::new(), Vec::new());
        for (axis, label) in labels.iter().enumerate() {
            match kept.iter().position(|l| l == label) {
                Some(at) => strides[at] += own[axis],
                None => {
                    kept.push(*label);
                    dims.push(tensor.dims()[axis]);
                    strides.push(own[axis]);
                }
            }
        }
        let tensor = if kept.len() == labels.len() {
            tensor.clone()
        } else {
            read_view(tensor, &View { dims, strides: strides.as_slice().into(), offset: 0 })?
        };
        Ok(Operand { tensor, labels: kept })
    }

    fn size(&self, label: Label) -> Option<usize> {
        self.labels.iter().position(|l| *l == label).map(|at| self.tensor.dims()[at])
    }

    /// The dimensions in the order of these labels, which are all there are.
    fn ordered(&self, order: &[Label]) -> Result<Tensor> {
        let perm: Vec<usize> = order.iter().filter_map(|l| self.labels.iter().position(|own| own == l)).collect();
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return Ok(self.tensor.clone());
        }
        permute(&self.tensor, &perm)
    }

    /// The sum over the dimensions whose labels aren't kept.
    fn summed(self, keep: impl Fn(Label) -> bool) -> Result<Operand> {
        let (kept, gone): (Vec<Label>, Vec<Label>) = self.labels.iter().partition(|l| keep(**l));
        if gone.is_empty() {
            return Ok(self);
        }
        let order: Vec<Label> = kept.iter().chain(&gone).copied().collect();
        let ordered = self.ordered(&order)?;
        let dims = ordered.dims()[..kept.len()].to_vec();
        let count: usize = ordered.dims()[kept.len()..].iter().product();
        let rows = dims.iter().product();
        let ones = dispatch!(ordered.dtype(), numbers, T => Tensor::full(&[count, 1], <T as Number>::ONE)?);
        let sums = batch_product(&ordered.reshaped(&[rows, count])?, &ones, false, false)?;
        Ok(Operand { tensor: sums.reshaped(&dims)?, labels: kept })
    }
}

fn kernel(ctx: &mut KernelCtx) -> Result<()> {
    let count = ctx.num_inputs();
    let equation = parse(ctx.node().string("equation")?, count)?;
    let mut sizes: Vec<(Label, usize)> = Vec::new();
    let (mut operands, mut broadcast) = (Vec::with_capacity(count), 0);
    for (index, labels) in equation.inputs.iter().enumerate() {
        let tensor = ctx.input(index)?;
        let labels = expand(labels, index, tensor.rank())?;
        broadcast = broadcast.max(broadcast_count(&labels));
        for (axis, label) in labels.iter().enumerate().filter(|(_, l)| !matches!(l, Label::Broadcast(_))) {
            let size = tensor.dims()[axis];
            match sizes.iter().find(|(l, _)| l == label) {
                Some(&(_, known)) if known != size => bail!(
                    InvalidArgument,
                    "Expected dimension {known} at axis {axis} of the input shaped {:?} but got dimension {size}",
                    tensor.dims()
                ),
                Some(_) => {}
                None => sizes.push((*label, size)),
            }
        }
        operands.push(Operand::new(tensor, &labels)?);
    }
    let output = expand_output(&equation.output, broadcast)?;
    let result = match <[Operand; 2]>::try_from(operands) {
        Ok([x, y]) => contract(x, y, &output)?,
        Err(mut one) => one.swap_remove(0).summed(|l| output.contains(&l))?,
    };
    let out = arranged(&result, &output)?;
    ctx.set(0, out)
}

/// The dimensions in the order of the output's labels; what stands off the diagonal of repeated ones is zero.
fn arranged(result: &Operand, output: &[Label]) -> Result<Tensor> {
    let mut order: Vec<Label> = Vec::new();
    for label in output {
        if !order.contains(label) {
            order.push(*label);
        }
    }
    let ordered = result.ordered(&order)?;
    if order.len() == output.len() {
        return Ok(ordered);
    }
    let position = |label: &Label| order.iter().position(|l| l == label).unwrap_or(0);
    let dims: Vec<usize> = output.iter().map(|l| ordered.dims()[position(l)]).collect();
    let own = row_major(&dims);
    let mut strides = vec![0isize; order.len()];
    for (axis, label) in output.iter().enumerate() {
        strides[position(label)] += own[axis];
    }
    let view = View { dims: ordered.dims().into(), strides: strides.as_slice().into(), offset: 0 };
    write_view(&ordered, &view, Tensor::zeros(ordered.dtype(), &dims)?)
}

/// One operand as matrices: its dimensions in the order of the labels, or with the last two groups exchanged where that is
/// how they stand in memory. Real matrices may then be taken as transposed.
fn as_matrices(
    operand: &Operand,
    outer: &[Label],
    rows: &[Label],
    columns: &[Label],
    batch: (&[usize], usize),
) -> Result<(Tensor, bool)> {
    let joined = |a: &[Label], b: &[Label]| -> Vec<Label> { outer.iter().chain(a).chain(b).copied().collect() };
    let size = |labels: &[Label]| labels.iter().filter_map(|l| operand.size(*l)).product::<usize>();
    let swapped = joined(columns, rows);
    let exchange = !operand.tensor.dtype().is_complex() && swapped == operand.labels && joined(rows, columns) != operand.labels;
    let order = if exchange { swapped } else { joined(rows, columns) };
    let (first, second) = if exchange { (size(columns), size(rows)) } else { (size(rows), size(columns)) };
    let mut dims = batch.0.to_vec();
    dims.extend([batch.1, first, second]);
    Ok((operand.ordered(&order)?.reshaped(&dims)?, exchange))
}

/// The sum over the labels that both operands have and the output hasn't.
fn contract(x: Operand, y: Operand, output: &[Label]) -> Result<Operand> {
    let kept = |l: Label| matches!(l, Label::Broadcast(_)) || output.contains(&l);
    let (in_x, in_y) = (x.labels.clone(), y.labels.clone());
    let x = x.summed(|l| kept(l) || in_y.contains(&l))?;
    let y = y.summed(|l| kept(l) || in_x.contains(&l))?;
    let both = |l: &Label| x.labels.contains(l) && y.labels.contains(l);
    let count = broadcast_count(&x.labels).max(broadcast_count(&y.labels));
    let broadcast: Vec<Label> = (0..count).rev().map(Label::Broadcast).collect();
    let letters = |o: &Operand, pick: &dyn Fn(&Label) -> bool| -> Vec<Label> {
        o.labels.iter().copied().filter(|l| !matches!(l, Label::Broadcast(_)) && pick(l)).collect()
    };
    let shared = letters(&x, &|l| both(l) && output.contains(l));
    let summed = letters(&x, &|l| both(l) && !output.contains(l));
    let (free_x, free_y) = (letters(&x, &|l| !both(l)), letters(&y, &|l| !both(l)));
    let product = |labels: &[Label]| labels.iter().filter_map(|l| x.size(*l)).product::<usize>();
    let outer_dims = |o: &Operand| broadcast.iter().map(|l| o.size(*l).unwrap_or(1)).collect::<Vec<usize>>();
    let outer = |o: &Operand| -> Vec<Label> {
        broadcast.iter().copied().filter(|l| o.labels.contains(l)).chain(shared.iter().copied()).collect()
    };
    let (a, turn_a) = as_matrices(&x, &outer(&x), &free_x, &summed, (&outer_dims(&x), product(&shared)))?;
    let (b, turn_b) = as_matrices(&y, &outer(&y), &summed, &free_y, (&outer_dims(&y), product(&shared)))?;
    let products = batch_product(&a, &b, turn_a, turn_b)?;
    let mut dims = products.dims()[..count].to_vec();
    dims.extend(shared.iter().chain(&free_x).filter_map(|l| x.size(*l)));
    dims.extend(free_y.iter().filter_map(|l| y.size(*l)));
    let labels = [broadcast, shared, free_x, free_y].concat();
    Ok(Operand { tensor: products.reshaped(&dims)?, labels })
}
