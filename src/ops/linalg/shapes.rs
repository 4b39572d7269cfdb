//! The shape functions of linear algebra.

use crate::error::{Result, bail};
use crate::graph::op::InferCtx;
use crate::ops::shape::broadcast_shapes;
use crate::tensor::Shape;

/// Two sizes that have to be equal, as one.
fn merged(a: Option<usize>, b: Option<usize>) -> Result<Option<usize>> {
    match (a, b) {
        (Some(x), Some(y)) if x != y => bail!(InvalidArgument, "Dimensions must be equal, but are {x} and {y}"),
        _ => Ok(a.or(b)),
    }
}

/// The shape with square matrices in its last two dimensions: the outer shape and the side.
fn square(shape: &Shape) -> Result<(Shape, Option<usize>)> {
    let shape = shape.with_rank_at_least(2)?;
    let side = merged(shape.dim(-2), shape.dim(-1))?;
    Ok((shape.slice(0, -2), side))
}

/// The output is square matrices like the input.
pub fn unchanged_square(ctx: &mut InferCtx) -> Result<()> {
    let (outer, n) = square(&ctx.input(0))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(n, n)))
}

/// Both inputs are square matrices of one shape.
pub fn two_squares(ctx: &mut InferCtx) -> Result<()> {
    unchanged_square(ctx)
}

/// One number for each matrix.
pub fn determinant(ctx: &mut InferCtx) -> Result<()> {
    let (outer, _) = square(&ctx.input(0))?;
    for i in 0..ctx.num_outputs() {
        ctx.set(i, outer.clone())?;
    }
    Ok(())
}

fn solution(ctx: &mut InferCtx, square_lhs: bool) -> Result<()> {
    let (lhs, rhs) = (ctx.input(0).with_rank_at_least(2)?, ctx.input(1).with_rank_at_least(2)?);
    let side = if square_lhs { square(&lhs)?.1 } else { None };
    let outer = lhs.slice(0, -2).merge(&rhs.slice(0, -2))?;
    let rows = merged(merged(lhs.dim(-2), rhs.dim(-2))?, side)?;
    let columns = if square_lhs { rows } else { lhs.dim(-1) };
    ctx.set(0, outer.concatenate(&Shape::matrix(columns, rhs.dim(-1))))
}

/// `[..., M, M]` and `[..., M, K]` give `[..., M, K]`.
pub fn solve(ctx: &mut InferCtx) -> Result<()> {
    solution(ctx, true)
}

/// `[..., M, N]` and `[..., M, K]` give `[..., N, K]`.
pub fn least_squares(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(2).with_rank(0)?;
    solution(ctx, false)
}

/// As [`solve`], where the outer dimensions broadcast.
pub fn triangular_solve(ctx: &mut InferCtx) -> Result<()> {
    let (lhs, rhs) = (ctx.input(0).with_rank_at_least(2)?, ctx.input(1).with_rank_at_least(2)?);
    if lhs.rank().is_none() || rhs.rank().is_none() {
        return ctx.set(0, Shape::unknown());
    }
    let (outer, side) = square(&lhs)?;
    let rows = merged(side, rhs.dim(-2))?;
    let outer = broadcast_shapes(&outer, &rhs.slice(0, -2))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(rows, rhs.dim(-1))))
}

/// The bands `[..., K, M]` of a matrix and `[..., M, N]` give `[..., M, N]`; the outer dimensions broadcast.
pub fn banded_solve(ctx: &mut InferCtx) -> Result<()> {
    let (lhs, rhs) = (ctx.input(0).with_rank_at_least(2)?, ctx.input(1).with_rank_at_least(2)?);
    if lhs.rank().is_none() || rhs.rank().is_none() {
        return ctx.set(0, Shape::unknown());
    }
    if lhs.dim(-2) == Some(0) {
        bail!(InvalidArgument, "At least one band is needed, got shape {lhs}");
    }
    let rows = merged(lhs.dim(-1), rhs.dim(-2))?;
    let outer = broadcast_shapes(&lhs.slice(0, -2), &rhs.slice(0, -2))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(rows, rhs.dim(-1))))
}

/// `[..., M+1, M]`: eigenvalues above eigenvectors.
pub fn self_adjoint_eig_v1(ctx: &mut InferCtx) -> Result<()> {
    let (outer, n) = square(&ctx.input(0))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(n.map(|n| n + 1), n)))
}

/// Eigenvalues `[..., M]` and, with `compute_v`, eigenvectors `[..., M, M]`.
pub fn eigen(ctx: &mut InferCtx) -> Result<()> {
    let (outer, n) = square(&ctx.input(0))?;
    ctx.set(0, outer.concatenate(&Shape::vector(n)))?;
    let vectors = if ctx.boolean("compute_v")? { outer.concatenate(&Shape::matrix(n, n)) } else { Shape::from([0usize]) };
    ctx.set(1, vectors)
}

/// The smaller of two sizes.
fn least(m: Option<usize>, n: Option<usize>) -> Option<usize> {
    match (m, n) {
        (Some(0), _) | (_, Some(0)) => Some(0),
        (Some(m), Some(n)) => Some(m.min(n)),
        _ => None,
    }
}

/// Q and R of matrices `[..., M, N]`.
pub fn qr(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(2)?;
    let (outer, m, n) = (input.slice(0, -2), input.dim(-2), input.dim(-1));
    let inner = if ctx.boolean("full_matrices")? { m } else { least(m, n) };
    ctx.set(0, outer.concatenate(&Shape::matrix(m, inner)))?;
    ctx.set(1, outer.concatenate(&Shape::matrix(inner, n)))
}

/// Singular values and vectors of matrices `[..., M, N]`.
pub fn svd(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(2)?;
    let (outer, m, n) = (input.slice(0, -2), input.dim(-2), input.dim(-1));
    let size = least(m, n);
    ctx.set(0, outer.concatenate(&Shape::vector(size)))?;
    if !ctx.boolean("compute_uv")? {
        ctx.set(1, Shape::from([0usize]))?;
        return ctx.set(2, Shape::from([0usize]));
    }
    let full = ctx.boolean("full_matrices")?;
    ctx.set(1, outer.concatenate(&Shape::matrix(m, if full { m } else { size })))?;
    ctx.set(2, outer.concatenate(&Shape::matrix(n, if full { n } else { size })))
}

/// L and U in one matrix, and the permutation.
pub fn lu(ctx: &mut InferCtx) -> Result<()> {
    let (outer, n) = square(&ctx.input(0))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(n, n)))?;
    ctx.set(1, outer.concatenate(&Shape::vector(n)))
}

/// Diagonals `[..., 3, M]` and `[..., M, K]` give `[..., M, K]`.
pub fn tridiagonal_solve(ctx: &mut InferCtx) -> Result<()> {
    let (lhs, rhs) = (ctx.input(0).with_rank_at_least(2)?, ctx.input(1).with_rank_at_least(2)?);
    let outer = lhs.slice(0, -2).merge(&rhs.slice(0, -2))?;
    let rows = merged(lhs.dim(-1), rhs.dim(-2))?;
    merged(lhs.dim(-2), Some(3))?;
    ctx.set(0, outer.concatenate(&Shape::matrix(rows, rhs.dim(-1))))
}

/// Three diagonals `[..., 1, M]` and `[..., M, K]` give `[..., M, K]`.
pub fn tridiagonal_product(ctx: &mut InferCtx) -> Result<()> {
    let rhs = ctx.input(3).with_rank_at_least(2)?;
    let mut outer = rhs.slice(0, -2);
    let mut rows = rhs.dim(-2);
    for i in 0..3 {
        let diagonal = ctx.input(i).with_rank_at_least(2)?;
        outer = outer.merge(&diagonal.slice(0, -2))?;
        merged(diagonal.dim(-2), Some(1))?;
        rows = merged(rows, diagonal.dim(-1))?;
    }
    ctx.set(0, outer.concatenate(&Shape::matrix(rows, rhs.dim(-1))))
}
