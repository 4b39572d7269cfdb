//! Functions that build linear algebra.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::Idx;
use crate::ops::array::MatrixDiag;
use crate::ops::convert::Arg;
use crate::ops::math::functions::MatMulOptions;
use crate::tensor::{DType, Shape};

/// The side of an identity matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EyeSize {
    /// Known when the graph is built.
    Known(usize),
    /// A scalar of the graph.
    Tensor(Output),
}

impl EyeSize {
    fn arg(self) -> Arg {
        match self {
            EyeSize::Known(size) => Arg::from(size),
            EyeSize::Tensor(output) => Arg::from(output),
        }
    }
}

/// How [`Graph::matrix_solve_ls`] solves.
#[derive(Clone, Copy, Debug)]
pub struct LstsqOptions {
    /// The weight of the squared norm of the solution.
    pub l2_regularizer: f64,
    /// By normal equations rather than by an orthogonal decomposition.
    pub fast: bool,
}

impl Default for LstsqOptions {
    fn default() -> LstsqOptions {
        LstsqOptions { l2_regularizer: 0.0, fast: true }
    }
}

macro_rules! single_nodes {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for shapes or dtypes that the op doesn't take.
            pub fn $name(&self, input: Output) -> Result<Output> {
                self.op($op).input(input).output()
            })*
        }
    };
}

single_nodes! {
    /// The lower triangle L with `A = L L^H` of positive definite matrices (`tf.linalg.cholesky`).
    cholesky, "Cholesky";
    /// The determinants of matrices (`tf.linalg.det`).
    matrix_determinant, "MatrixDeterminant";
    /// The principal square roots of matrices (`tf.linalg.sqrtm`).
    matrix_square_root, "MatrixSquareRoot";
    /// The principal logarithms of complex matrices (`tf.linalg.logm`).
    matrix_logarithm, "MatrixLogarithm";
}

impl Graph {
    /// Identity matrices, as many as the batch shape says (`tf.eye`).
    ///
    /// # Errors
    /// `InvalidArgument` for a batch shape that isn't a vector of int32.
    pub fn eye(&self, num_rows: usize, num_columns: Option<usize>, batch_shape: Option<Arg>, dtype: DType) -> Result<Output> {
        self.eye_of(EyeSize::Known(num_rows), num_columns.map(EyeSize::Known), batch_shape, dtype)
    }

    /// [`Graph::eye`] with sizes that may be tensors.
    pub(crate) fn eye_of(&self, rows: EyeSize, columns: Option<EyeSize>, batch: Option<Arg>, dtype: DType) -> Result<Output> {
        let (g, _scope) = self.enter("eye")?;
        let mut square = columns.is_none();
        let columns = columns.unwrap_or(rows);
        let size = match (rows, columns) {
            (EyeSize::Known(r), EyeSize::Known(c)) => {
                square = r == c;
                EyeSize::Known(r.min(c))
            }
            _ => EyeSize::Tensor(g.minimum(rows.arg(), columns.arg())?),
        };
        let batch = batch.unwrap_or_else(|| Arg::List(Vec::new()));
        let static_batch = match &batch {
            Arg::Output(_) => None,
            value => {
                value.value()?.map(|v| if v.is_empty() { Ok(Vec::new()) } else { v.to_dims().map(|d| d.to_vec()) }).transpose()?
            }
        };
        let (diagonal_shape, shape) = match (static_batch, size) {
            (Some(batch), EyeSize::Known(n)) => {
                let mut shape = batch.clone();
                if let (EyeSize::Known(r), EyeSize::Known(c)) = (rows, columns) {
                    shape.extend([r, c]);
                }
                (Arg::from([batch, vec![n]].concat()), Arg::from(shape))
            }
            _ => {
                let batch = g.convert(&batch, Some(DType::Int32), "shape")?;
                let diagonal = g.concat(&[batch.into(), Arg::List(vec![size.arg()])], 0i32)?;
                let shape = match square {
                    true => diagonal,
                    false => g.concat(&[batch.into(), Arg::List(vec![rows.arg(), columns.arg()])], 0i32)?,
                };
                (diagonal.into(), shape.into())
            }
        };
        let ones = g.ones(diagonal_shape, dtype)?;
        if square {
            return g.matrix_diag(ones, MatrixDiag::default());
        }
        let zeros = g.zeros(shape, dtype)?;
        g.matrix_set_diag(zeros, ones, MatrixDiag::default())
    }

    /// The sums of the diagonals of matrices (`tf.linalg.trace`).
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn trace(&self, x: Output) -> Result<Output> {
        let (g, scope) = self.enter("Trace")?;
        let diagonal = g.matrix_diag_part(x, MatrixDiag::default())?;
        g.named(scope.name()).reduce_sum(diagonal, [-1], false)
    }

    /// The conjugate transposes of matrices (`tf.linalg.adjoint`).
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn adjoint(&self, matrix: Output) -> Result<Output> {
        let (g, _scope) = self.enter("adjoint")?;
        g.matrix_transpose(matrix, true)
    }

    /// The inverses of matrices, or of their conjugate transposes (`tf.linalg.inv`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn matrix_inverse(&self, input: Output, adjoint: bool) -> Result<Output> {
        self.op("MatrixInverse").input(input).attr("adjoint", adjoint).output()
    }

    /// The signs of determinants and the logarithms of their absolute values (`tf.linalg.slogdet`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn log_matrix_determinant(&self, input: Output) -> Result<(Output, Output)> {
        let op = self.op("LogMatrixDeterminant").input(input).finish()?;
        Ok((op.output(0), op.output(1)))
    }

    /// The logarithms of the determinants of positive definite matrices (`tf.linalg.logdet`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn logdet(&self, matrix: Output) -> Result<Output> {
        let (g, _scope) = self.enter("logdet")?;
        let chol = g.cholesky(matrix)?;
        let diagonal = g.matrix_diag_part(chol, MatrixDiag::default())?;
        let log = g.log(g.real(diagonal)?)?;
        g.mul(2.0, g.reduce_sum(log, [-1], false)?)
    }

    /// The X with `A X = B`, or `A^H X = B` if `adjoint` (`tf.linalg.solve`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn matrix_solve(&self, matrix: Output, rhs: Output, adjoint: bool) -> Result<Output> {
        self.op("MatrixSolve").input(matrix).input(rhs).attr("adjoint", adjoint).output()
    }

    /// The same for triangular matrices (`tf.linalg.triangular_solve`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn matrix_triangular_solve(&self, matrix: Output, rhs: Output, lower: bool, adjoint: bool) -> Result<Output> {
        let (g, _scope) = self.enter("triangular_solve")?;
        let node = g.op("MatrixTriangularSolve").input(matrix).input(rhs);
        node.attr("lower", lower).attr("adjoint", adjoint).output()
    }

    /// The same for triangular matrices given by their bands (`tf.linalg.banded_triangular_solve`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn banded_triangular_solve(&self, bands: Output, rhs: Output, lower: bool, adjoint: bool) -> Result<Output> {
        let (g, _scope) = self.enter("banded_triangular_solve")?;
        g.banded_triangular_solve_node(bands, rhs, lower, adjoint)
    }

    pub(super) fn banded_triangular_solve_node(&self, bands: Output, rhs: Output, lower: bool, adjoint: bool) -> Result<Output> {
        let node = self.op("BandedTriangularSolve").input(bands).input(rhs);
        node.attr("lower", lower).attr("adjoint", adjoint).output()
    }

    /// The X with `L L^H X = B`, from Cholesky's L (`tf.linalg.cholesky_solve`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn cholesky_solve(&self, chol: Output, rhs: Output) -> Result<Output> {
        let (g, _scope) = self.enter("cholesky_solve")?;
        let solve = |rhs: Output, adjoint: bool| {
            let node = g.op("MatrixTriangularSolve").input(chol).input(rhs);
            node.attr("lower", true).attr("adjoint", adjoint).output()
        };
        let y = solve(rhs, false)?;
        solve(y, true)
    }

    /// Cholesky's decomposition of `A^H A + l2 I`, or of `A A^H + l2 I`.
    pub(super) fn regularized_gramian_cholesky(&self, matrix: Output, l2: Option<Arg>, first_kind: bool) -> Result<Output> {
        let g = self.plain();
        let options = MatMulOptions { adjoint_a: first_kind, adjoint_b: !first_kind, ..Default::default() };
        let mut gramian = g.matmul_with(matrix, matrix, options)?;
        if let Some(l2) = l2 {
            let shape = g.shape_tensor(matrix)?;
            let batch = g.index(shape, &[(..Arg::from(-2i32)).into()])?;
            let last = if first_kind { -1 } else { -2 };
            let side = g.index(shape, &[last.into()])?;
            let dtype = g.dtype(matrix)?;
            let identity = g.eye_of(EyeSize::Tensor(side), None, Some(batch.into()), dtype)?;
            let known = g.shape(matrix)?;
            let n = known.dim(last as isize);
            g.set_shape(identity, known.slice(0, -2).concatenate(&Shape::matrix(n, n)))?;
            let weighted = g.mul(l2, identity)?;
            gramian = g.add(gramian, weighted)?;
        }
        g.op("Cholesky").input(gramian).output()
    }

    /// The X that minimises `|A X - B|^2 + l2 |X|^2`, of least norm where there are many (`tf.linalg.lstsq`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit; `Unimplemented` where rows and columns aren't static.
    pub fn matrix_solve_ls(&self, matrix: Output, rhs: Output, options: LstsqOptions) -> Result<Output> {
        let LstsqOptions { l2_regularizer: l2, fast } = options;
        let shape = self.shape(matrix)?;
        let dtype = self.dtype(matrix)?;
        if dtype == DType::Complex128 && l2 != 0.0 {
            bail!(Unimplemented, "matrix_solve_ls is disabled for complex128 and l2_regularizer != 0, as it is in TensorFlow.");
        }
        let sides = (shape.dim(-2), shape.dim(-1));
        let one_node = !fast
            || shape.num_elements().is_some_and(|count| {
                let batch = shape.slice(0, -2).num_elements().unwrap_or(0);
                count.saturating_mul(dtype.size()) > 256_000 && batch > sides.0.unwrap_or(0).min(sides.1.unwrap_or(0))
            });
        if one_node {
            return self.call("MatrixSolveLs").arg(matrix).arg(rhs).arg(l2).attr("fast", fast).output();
        }
        let (Some(rows), Some(columns)) = sides else {
            bail!(Unimplemented, "matrix_solve_ls needs static rows and columns, got shape {shape}");
        };
        let (g, _scope) = self.enter("matrix_solve_ls")?;
        let tall = rows >= columns;
        let chol = g.regularized_gramian_cholesky(matrix, (l2 != 0.0).then(|| Arg::from(l2)), tall)?;
        let adjoint = MatMulOptions { adjoint_a: true, ..Default::default() };
        if tall {
            let rhs = g.matmul_with(matrix, rhs, adjoint)?;
            return g.cholesky_solve(chol, rhs);
        }
        let solved = g.cholesky_solve(chol, rhs)?;
        g.matmul_with(matrix, solved, adjoint)
    }

    /// `A = Q R` (`tf.linalg.qr`); Q is square if `full_matrices`.
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn qr(&self, input: Output, full_matrices: bool) -> Result<(Output, Output)> {
        let op = self.op("Qr").input(input).attr("full_matrices", full_matrices).finish()?;
        Ok((op.output(0), op.output(1)))
    }

    /// `A = U S V^H`: S, U and V (`tf.linalg.svd`); U and V are square if `full_matrices`.
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn svd(&self, tensor: Output, full_matrices: bool) -> Result<(Output, Output, Output)> {
        let node = self.op("Svd").input(tensor).attr("compute_uv", true).attr("full_matrices", full_matrices);
        let op = node.finish()?;
        Ok((self.plain().real(op.output(0))?, op.output(1), op.output(2)))
    }

    /// The singular values in falling order (`tf.linalg.svd(compute_uv=False)`).
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn singular_values(&self, tensor: Output) -> Result<Output> {
        let op = self.op("Svd").input(tensor).attr("compute_uv", false).finish()?;
        self.plain().real(op.output(0))
    }

    /// The eigenvalues of self-adjoint matrices in rising order, and eigenvectors as columns (`tf.linalg.eigh`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn self_adjoint_eig(&self, tensor: Output) -> Result<(Output, Output)> {
        let op = self.op("SelfAdjointEigV2").input(tensor).attr("compute_v", true).finish()?;
        Ok((op.output(0), op.output(1)))
    }

    /// The eigenvalues of self-adjoint matrices in rising order (`tf.linalg.eigvalsh`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn self_adjoint_eigvals(&self, tensor: Output) -> Result<Output> {
        Ok(self.op("SelfAdjointEigV2").input(tensor).attr("compute_v", false).finish()?.output(0))
    }

    /// The eigenvalues of matrices by rising absolute value, and eigenvectors as columns (`tf.linalg.eig`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn eig(&self, tensor: Output) -> Result<(Output, Output)> {
        let op = self.op("Eig").input(tensor).attr("compute_v", true).attr("Tout", self.complex_dtype(tensor)?).finish()?;
        Ok((op.output(0), op.output(1)))
    }

    /// The eigenvalues of matrices by rising absolute value (`tf.linalg.eigvals`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square.
    pub fn eigvals(&self, tensor: Output) -> Result<Output> {
        let node = self.op("Eig").input(tensor).attr("compute_v", false).attr("Tout", self.complex_dtype(tensor)?);
        Ok(node.finish()?.output(0))
    }

    fn complex_dtype(&self, tensor: Output) -> Result<DType> {
        match self.dtype(tensor)?.real() {
            DType::Float => Ok(DType::Complex64),
            DType::Double => Ok(DType::Complex128),
            other => bail!(InvalidArgument, "Eigenvalues of matrices of {other} can't be computed"),
        }
    }

    /// L and U in one matrix, and the permutation of the rows (`tf.linalg.lu`).
    ///
    /// # Errors
    /// `InvalidArgument` for matrices that aren't square, or another `output_idx_type`.
    pub fn lu(&self, input: Output, output_idx_type: DType) -> Result<(Output, Output)> {
        let op = self.op("Lu").input(input).attr("output_idx_type", output_idx_type).finish()?;
        Ok((op.output(0), op.output(1)))
    }

    /// The X with `A X = B` for tridiagonal matrices given by their diagonals `[..., 3, M]` (`tf.linalg.tridiagonal_solve`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn tridiagonal_solve(&self, diagonals: Output, rhs: Output, partial_pivoting: bool) -> Result<Output> {
        let vectors = match (self.shape(diagonals)?.rank(), self.shape(rhs)?.rank()) {
            (Some(d), Some(r)) => r + 1 == d,
            _ => false,
        };
        let node = |rhs: Output| {
            self.op("TridiagonalSolve").input(diagonals).input(rhs).attr("partial_pivoting", partial_pivoting).output()
        };
        if !vectors {
            return node(rhs);
        }
        let g = self.plain();
        let solved = node(g.expand_dims(rhs, -1i32)?)?;
        g.squeeze(solved, &[-1])
    }

    /// The product of tridiagonal matrices, given by their diagonals `[..., 3, M]`, and others (`tf.linalg.tridiagonal_matmul`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit.
    pub fn tridiagonal_matmul(&self, diagonals: Output, rhs: Output) -> Result<Output> {
        let g = self.plain();
        let mut parts = Vec::with_capacity(3);
        for i in 0..3 {
            parts.push(g.index(diagonals, &[Idx::Ellipsis, i.into(), (..).into()])?);
        }
        for part in &mut parts {
            *part = g.expand_dims(*part, -2i32)?;
        }
        let mut node = self.op("TridiagonalMatMul");
        for part in parts {
            node = node.input(part);
        }
        node.input(rhs).output()
    }
}
