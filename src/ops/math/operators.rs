//! Python's operators on tensors, and the functions that stand for one node.
//!
//! `g.add(x, y)` is Python's `x + y`: a node "add", where a number becomes the constant "add/y". What `tf.add(x, y)` makes,
//! a node "Add", is [`Graph::math_add`].

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident, $node:literal, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` where neither side is a tensor, or dtypes or shapes don't fit.
            pub fn $name(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
                self.operator($node, $op, x, y)
            })*
        }
    };
}

operators! {
    /// `x - y`.
    sub, "sub", "Sub";
    /// `x * y`.
    mul, "mul", "Mul";
    /// `x // y`, rounded down.
    floordiv, "floordiv", "FloorDiv";
    /// `x % y`, with the sign of the divisor.
    mod_, "mod", "FloorMod";
    /// `x ** y`.
    pow, "pow", "Pow";
}

macro_rules! binary_functions {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` where dtypes or shapes don't fit.
            pub fn $name(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
                self.call($op).arg(x).arg(y).output()
            })*
        }
    };
}

binary_functions! {
    /// `x < y`, element by element.
    less, "Less";
    /// `x <= y`, element by element.
    less_equal, "LessEqual";
    /// `x > y`, element by element.
    greater, "Greater";
    /// `x >= y`, element by element.
    greater_equal, "GreaterEqual";
    /// Whether elements are equal (`tf.equal`).
    equal, "Equal";
    /// Whether elements differ (`tf.not_equal`).
    not_equal, "NotEqual";
    /// Whether elements differ by less than 1e-5 (`tf.math.approximate_equal`).
    approximate_equal, "ApproximateEqual";
    /// `tf.logical_and`.
    logical_and, "LogicalAnd";
    /// `tf.logical_or`.
    logical_or, "LogicalOr";
    /// The larger of each two elements (`tf.maximum`).
    maximum, "Maximum";
    /// The smaller of each two elements (`tf.minimum`).
    minimum, "Minimum";
    /// `tf.multiply`: a node "Mul".
    multiply, "Mul";
    /// `tf.subtract`: a node "Sub".
    subtract, "Sub";
    /// `tf.realdiv`: a node "RealDiv".
    realdiv, "RealDiv";
    /// `tf.floor_div`: a node "FloorDiv".
    floor_div, "FloorDiv";
    /// `tf.math.floormod`: a node "FloorMod".
    floormod, "FloorMod";
    /// The quotient rounded towards zero (`tf.truncatediv`).
    truncatediv, "TruncateDiv";
    /// The remainder with the sign of the dividend (`tf.truncatemod`).
    truncatemod, "TruncateMod";
    /// `(x - y)^2`, of complex numbers `(x - y) conj(x - y)` (`tf.math.squared_difference`).
    squared_difference, "SquaredDifference";
    /// The angle of the point (y, x) (`tf.atan2`).
    atan2, "Atan2";
    /// The regularized lower incomplete gamma function of a and x (`tf.math.igamma`).
    igamma, "Igamma";
    /// The regularized upper incomplete gamma function of a and x (`tf.math.igammac`).
    igammac, "Igammac";
    /// The n-th derivative of digamma at x (`tf.math.polygamma`).
    polygamma, "Polygamma";
    /// The Hurwitz zeta function of x and q (`tf.math.zeta`).
    zeta, "Zeta";
    /// `x log y`, and 0 where x is 0 (`tf.math.xlogy`).
    xlogy, "Xlogy";
    /// The next number after x in the direction of y (`tf.math.nextafter`).
    nextafter, "NextAfter";
    /// The cross product of vectors of three (`tf.linalg.cross`).
    cross, "Cross";
    /// `tf.bitwise.bitwise_and`.
    bitwise_and, "BitwiseAnd";
    /// `tf.bitwise.bitwise_or`.
    bitwise_or, "BitwiseOr";
    /// `tf.bitwise.bitwise_xor`.
    bitwise_xor, "BitwiseXor";
    /// `x << y` (`tf.bitwise.left_shift`).
    left_shift, "LeftShift";
    /// `x >> y` (`tf.bitwise.right_shift`).
    right_shift, "RightShift";
}

macro_rules! unary_functions {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a dtype that the op doesn't take.
            pub fn $name(&self, x: Output) -> Result<Output> {
                self.op($op).input(x).output()
            })*
        }
    };
}

unary_functions! {
    /// `-x`.
    neg, "Neg";
    /// `tf.logical_not`.
    logical_not, "LogicalNot";
    /// Every bit inverted (`tf.bitwise.invert`).
    invert, "Invert";
    /// `tf.exp`.
    exp, "Exp";
    /// `e^x - 1`, exact near zero (`tf.math.expm1`).
    expm1, "Expm1";
    /// The natural logarithm (`tf.log`).
    log, "Log";
    /// `log(1 + x)`, exact near zero (`tf.log1p`).
    log1p, "Log1p";
    /// `tf.sqrt`.
    sqrt, "Sqrt";
    /// `1 / sqrt(x)` (`tf.rsqrt`).
    rsqrt, "Rsqrt";
    /// `tf.square`.
    square, "Square";
    /// `1 / x` (`tf.reciprocal`).
    reciprocal, "Reciprocal";
    /// `tf.tanh`.
    tanh, "Tanh";
    /// `1 / (1 + e^-x)` (`tf.sigmoid`).
    sigmoid, "Sigmoid";
    /// `tf.sin`.
    sin, "Sin";
    /// `tf.cos`.
    cos, "Cos";
    /// `tf.tan`.
    tan, "Tan";
    /// `tf.asin`.
    asin, "Asin";
    /// `tf.acos`.
    acos, "Acos";
    /// `tf.atan`.
    atan, "Atan";
    /// `tf.sinh`.
    sinh, "Sinh";
    /// `tf.cosh`.
    cosh, "Cosh";
    /// `tf.asinh`.
    asinh, "Asinh";
    /// `tf.acosh`.
    acosh, "Acosh";
    /// `tf.atanh`.
    atanh, "Atanh";
    /// `tf.floor`.
    floor, "Floor";
    /// `tf.ceil`.
    ceil, "Ceil";
    /// The nearest integer, halves to the even one (`tf.rint`).
    rint, "Rint";
    /// `tf.is_nan`.
    is_nan, "IsNan";
    /// `tf.is_inf`.
    is_inf, "IsInf";
    /// `tf.is_finite`.
    is_finite, "IsFinite";
    /// The logarithm of the absolute value of the gamma function (`tf.lgamma`).
    lgamma, "Lgamma";
    /// The derivative of lgamma (`tf.digamma`).
    digamma, "Digamma";
    /// The error function (`tf.erf`).
    erf, "Erf";
    /// One minus the error function (`tf.erfc`).
    erfc, "Erfc";
}

macro_rules! scoped_unary_functions {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a dtype that the op doesn't take.
            pub fn $name(&self, x: Output) -> Result<Output> {
                let (g, _scope) = self.enter(stringify!($name))?;
                g.op($op).input(x).output()
            })*
        }
    };
}

scoped_unary_functions! {
    /// The inverse of erf (`tf.math.erfinv`): a node "erfinv/Erfinv".
    erfinv, "Erfinv";
    /// The inverse of the normal distribution function (`tf.math.ndtri`).
    ndtri, "Ndtri";
    /// `tf.math.bessel_i0`.
    bessel_i0, "BesselI0";
    /// `tf.math.bessel_i0e`.
    bessel_i0e, "BesselI0e";
    /// `tf.math.bessel_i1`.
    bessel_i1, "BesselI1";
    /// `tf.math.bessel_i1e`.
    bessel_i1e, "BesselI1e";
    /// `tf.math.special.bessel_j0`.
    bessel_j0, "BesselJ0";
    /// `tf.math.special.bessel_j1`.
    bessel_j1, "BesselJ1";
    /// `tf.math.special.bessel_k0`.
    bessel_k0, "BesselK0";
    /// `tf.math.special.bessel_k0e`.
    bessel_k0e, "BesselK0e";
    /// `tf.math.special.bessel_k1`.
    bessel_k1, "BesselK1";
    /// `tf.math.special.bessel_k1e`.
    bessel_k1e, "BesselK1e";
    /// `tf.math.special.bessel_y0`.
    bessel_y0, "BesselY0";
    /// `tf.math.special.bessel_y1`.
    bessel_y1, "BesselY1";
    /// Dawson's integral (`tf.math.special.dawsn`).
    dawsn, "Dawsn";
    /// The exponential integral (`tf.math.special.expint`).
    expint, "Expint";
    /// Fresnel's cosine integral (`tf.math.special.fresnel_cos`).
    fresnel_cos, "FresnelCos";
    /// Fresnel's sine integral (`tf.math.special.fresnel_sin`).
    fresnel_sin, "FresnelSin";
    /// Spence's integral (`tf.math.special.spence`).
    spence, "Spence";
}

impl Graph {
    /// `x + y`; strings are joined.
    ///
    /// # Errors
    /// `InvalidArgument` where neither side is a tensor, or dtypes or shapes don't fit.
    pub fn add(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (x, y) = (x.into(), y.into());
        let known = x.output().or(y.output()).map(|o| self.dtype(o)).transpose()?;
        self.operator("add", addition(known), x, y)
    }

    /// `tf.add(x, y)`: a node "Add".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn math_add(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, scope) = self.enter("Add")?;
        let (x, y) = pair(&g, &x.into(), &y.into())?;
        g.op(addition(Some(g.dtype(x)?))).name(scope.name()).input(x).input(y).output()
    }

    /// `tf.pow(x, y)`: a node "Pow".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn math_pow(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        self.call("Pow").arg(x).arg(y).output()
    }

    /// `x / y` of numbers: integers are divided as float32 or float64. Python's operator `/` and `tf.truediv`: a node
    /// "truediv".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn truediv(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, scope) = self.enter("truediv")?;
        let (x, y) = pair(&g, &x.into(), &y.into())?;
        let (x, y) = (g.divisible(x)?, g.divisible(y)?);
        g.op("RealDiv").name(scope.name()).input(x).input(y).output()
    }

    /// `x / y`, the same as [`Graph::truediv`].
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn div(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        self.truediv(x, y)
    }

    /// `tf.div`: integers are divided and rounded down; a node "div".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn div_v1(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, scope) = self.enter("div")?;
        let (x, y) = pair(&g, &x.into(), &y.into())?;
        let dtype = g.dtype(x)?;
        let op = if dtype.is_floating() || dtype.is_complex() { "RealDiv" } else { "FloorDiv" };
        g.op(op).name(scope.name()).input(x).input(y).output()
    }

    /// `x / y`, and 0 where y is 0 (`tf.div_no_nan`): a node "div_no_nan".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn div_no_nan(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, scope) = self.enter("div_no_nan")?;
        let (x, y) = pair(&g, &x.into(), &y.into())?;
        let (x, y) = (g.divisible(x)?, g.divisible(y)?);
        g.op("DivNoNan").name(scope.name()).input(x).input(y).output()
    }

    /// `x * y`, and 0 where y is 0 (`tf.math.multiply_no_nan`).
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn multiply_no_nan(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, scope) = self.enter("multiply_no_nan")?;
        let (x, y) = pair(&g, &x.into(), &y.into())?;
        g.op("MulNoNan").name(scope.name()).input(x).input(y).output()
    }

    /// `x / y`, and 0 where x is 0 (`tf.math.xdivy`).
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn xdivy(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, _scope) = self.enter("xdivy")?;
        g.call("Xdivy").arg(x).arg(y).output()
    }

    /// `x log(1 + y)`, and 0 where x is 0 (`tf.math.xlog1py`).
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn xlog1py(&self, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (g, _scope) = self.enter("xlog1py")?;
        g.call("Xlog1py").arg(x).arg(y).output()
    }

    /// `x & y` of bools or integers.
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn and(&self, x: Output, y: impl Into<Arg>) -> Result<Output> {
        self.bits(x, y.into(), ("and", "LogicalAnd", "BitwiseAnd"))
    }

    /// `x | y` of bools or integers.
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn or(&self, x: Output, y: impl Into<Arg>) -> Result<Output> {
        self.bits(x, y.into(), ("or", "LogicalOr", "BitwiseOr"))
    }

    fn bits(&self, x: Output, y: Arg, (name, logical, bitwise): (&str, &str, &str)) -> Result<Output> {
        let (g, scope) = self.enter(name)?;
        match g.dtype(x)? {
            DType::Bool => g.named(scope.name()).call(logical).arg(x).arg(y).output(),
            _ => g.call(bitwise).arg(x).arg(y).output(),
        }
    }

    /// True where exactly one of two bools is (`tf.logical_xor`).
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn logical_xor(&self, x: Output, y: Output) -> Result<Output> {
        let g = self.plain();
        let either = g.logical_or(x, y)?;
        let both = g.logical_and(x, y)?;
        let not_both = g.logical_not(both)?;
        g.op("LogicalAnd").name(self.name_or("LogicalXor")).input(either).input(not_both).output()
    }

    /// The absolute value (`tf.abs`); of complex numbers a real one.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype without absolute values.
    pub fn abs(&self, x: Output) -> Result<Output> {
        let dtype = self.dtype(x)?;
        let node = self.op(if dtype.is_complex() { "ComplexAbs" } else { "Abs" }).default_name("Abs").input(x);
        if dtype.is_complex() { node.attr("Tout", dtype.real()).output() } else { node.output() }
    }

    /// -1, 0 or 1 (`tf.sign`); of complex numbers `x / |x|`.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype without signs.
    pub fn sign(&self, x: Output) -> Result<Output> {
        let dtype = self.dtype(x)?;
        if !dtype.is_complex() {
            return self.op("Sign").input(x).output();
        }
        let g = self.plain();
        let size = g.op("ComplexAbs").input(x).attr("Tout", dtype.real()).output()?;
        let size = g.cast(size, dtype)?;
        self.op("DivNoNan").input(x).input(size).output()
    }

    /// The nearest integer, halves to the even one (`tf.round`). Integers are returned as they are.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that can't be rounded.
    pub fn round(&self, x: Output) -> Result<Output> {
        if self.dtype(x)?.is_integer() { Ok(x) } else { self.op("Round").input(x).output() }
    }

    /// The complex conjugate (`tf.conj`). Real numbers are returned as they are.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of neither numbers nor variants.
    pub fn conj(&self, x: Output) -> Result<Output> {
        let dtype = self.dtype(x)?;
        if dtype.is_floating() || dtype.is_integer() {
            return Ok(x);
        }
        self.op("Conj").input(x).output()
    }

    /// A complex number of its parts, both float32 or both float64 (`tf.complex`).
    ///
    /// # Errors
    /// `InvalidArgument` for other dtypes, or shapes that don't broadcast.
    pub fn complex(&self, real: Output, imag: Output) -> Result<Output> {
        let out = match (self.dtype(real)?, self.dtype(imag)?) {
            (DType::Float, DType::Float) => DType::Complex64,
            (DType::Double, DType::Double) => DType::Complex128,
            (r, i) => bail!(InvalidArgument, "The `real` and `imag` components have incorrect types: {r} {i}"),
        };
        self.op("Complex").input(real).input(imag).attr("Tout", out).output()
    }

    /// The real part (`tf.real`). Real numbers are returned as they are.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't of numbers.
    pub fn real(&self, input: Output) -> Result<Output> {
        let dtype = self.dtype(input)?;
        let (g, scope) = self.enter("Real")?;
        match dtype {
            complex if complex.is_complex() => g.op("Real").name(scope.name()).input(input).attr("Tout", complex.real()).output(),
            number if number.is_floating() || number.is_integer() => Ok(input),
            other => bail!(InvalidArgument, "input must be a numeric tensor, but got tensor with dtype {other}"),
        }
    }

    /// The imaginary part (`tf.imag`); zeros for real numbers.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor without zeros.
    pub fn imag(&self, input: Output) -> Result<Output> {
        let dtype = self.dtype(input)?;
        let (g, scope) = self.enter("Imag")?;
        if dtype.is_complex() {
            return g.op("Imag").name(scope.name()).input(input).attr("Tout", dtype.real()).output();
        }
        g.zeros_like(input)
    }

    /// The angle of a complex number (`tf.angle`).
    ///
    /// # Errors
    /// `InvalidArgument` for other dtypes.
    pub fn angle(&self, input: Output) -> Result<Output> {
        let real = self.dtype(input)?.real();
        self.op("Angle").input(input).attr("Tout", real).output()
    }

    /// The elements in another dtype (`tf.cast`); a tensor that has it already is returned as it is.
    ///
    /// # Errors
    /// `InvalidArgument` where the dtypes can't be cast.
    pub fn cast(&self, x: Output, dtype: DType) -> Result<Output> {
        if self.dtype(x)? == dtype {
            return Ok(x);
        }
        self.op("Cast").input(x).attr("DstT", dtype).output()
    }

    /// `tf.to_float`: a node "ToFloat".
    ///
    /// # Errors
    /// As [`Graph::cast`].
    pub fn to_float(&self, x: Output) -> Result<Output> {
        self.named(self.name_or("ToFloat")).cast(x, DType::Float)
    }

    /// `tf.to_double`: a node "ToDouble".
    ///
    /// # Errors
    /// As [`Graph::cast`].
    pub fn to_double(&self, x: Output) -> Result<Output> {
        self.named(self.name_or("ToDouble")).cast(x, DType::Double)
    }

    /// `tf.to_int32`: a node "ToInt32".
    ///
    /// # Errors
    /// As [`Graph::cast`].
    pub fn to_int32(&self, x: Output) -> Result<Output> {
        self.named(self.name_or("ToInt32")).cast(x, DType::Int32)
    }

    /// `tf.to_int64`: a node "ToInt64".
    ///
    /// # Errors
    /// As [`Graph::cast`].
    pub fn to_int64(&self, x: Output) -> Result<Output> {
        self.named(self.name_or("ToInt64")).cast(x, DType::Int64)
    }

    /// `scalar * x` for a scalar given as a tensor or a number (`tf.scalar_mul`): a node "Mul".
    ///
    /// # Errors
    /// `InvalidArgument` for a scalar that isn't one.
    pub fn scalar_mul(&self, scalar: impl Into<Arg>, x: Output) -> Result<Output> {
        let g = self.plain();
        let scalar = g.convert(&scalar.into(), Some(g.dtype(x)?), "scalar")?;
        let shape = g.shape(scalar)?;
        if shape.rank() != Some(0) {
            bail!(InvalidArgument, "The input scalar must be a 0-D value. Received shape {shape}.");
        }
        self.op("Mul").input(scalar).input(x).output()
    }

    /// Each element from `x` where the condition holds, else from `y` (`tf.where` of TensorFlow 1): a node "Select". The
    /// condition has the shape of both, or is a vector that chooses rows, or a scalar.
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn where_v1(&self, condition: Output, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        self.call("Select").arg(condition).arg(x).arg(y).output()
    }

    /// The same with broadcasting (`tf.where` of TensorFlow 2): a node "SelectV2".
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn where_v2(&self, condition: Output, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        self.call("SelectV2").arg(condition).arg(x).arg(y).output()
    }

    /// Integers are divided as floats that hold them.
    fn divisible(&self, x: Output) -> Result<Output> {
        match self.dtype(x)? {
            DType::Uint8 | DType::Int8 | DType::Uint16 | DType::Int16 => self.cast(x, DType::Float),
            DType::Uint32 | DType::Int32 | DType::Uint64 | DType::Int64 => self.cast(x, DType::Double),
            _ => Ok(x),
        }
    }
}

fn addition(dtype: Option<DType>) -> &'static str {
    if dtype == Some(DType::String) { "Add" } else { "AddV2" }
}

/// Both operands as tensors of one dtype, in the current scope.
fn pair(g: &Graph, x: &Arg, y: &Arg) -> Result<(Output, Output)> {
    Ok(match (x.output(), y.output()) {
        (None, Some(y)) => (g.convert(x, Some(g.dtype(y)?), "x")?, y),
        _ => {
            let x = g.convert(x, None, "x")?;
            (x, g.convert(y, Some(g.dtype(x)?), "y")?)
        }
    })
}
