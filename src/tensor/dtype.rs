//! Element types.

use crate::error::{Error, Result};
use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $interface:literal, $short:literal, $size:literal;)*) => {
        /// An element type, with TensorFlow's numbers (`tensorflow.DataType`).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DType {
            $($(#[$doc])* $variant = $number,)*
        }

        impl DType {
            /// Every element type, in the order of their numbers.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// TensorFlow's name in Python: `float32`, `int64`, `string`.
            pub fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }

            /// TensorFlow's name in an op's interface: `float`, `int64`, `string`.
            pub fn interface_name(self) -> &'static str {
                match self { $(DType::$variant => $interface,)* }
            }

            /// The name in the text form of tensors: `f32`, `i64`, `str`.
            pub fn short_name(self) -> &'static str {
                match self { $(DType::$variant => $short,)* }
            }

            /// Bytes an element; 0 for strings, resources and variants.
            pub fn size(self) -> usize {
                match self { $(DType::$variant => $size,)* }
            }

            /// The element type of a `tensorflow.DataType` number; reference types (above 100) give their base.
            pub fn from_number(number: i32) -> Option<DType> {
                let number = if number > 100 { number - 100 } else { number };
                match number { $($number => Some(DType::$variant),)* _ => None }
            }

            /// The element type of a name: Python's (`float32`), an interface's (`float`) or the short one (`f32`).
            pub fn from_name(name: &str) -> Option<DType> {
                $(if name == $name || name == $interface || name == $short { return Some(DType::$variant); })*
                None
            }
        }
    };
}

dtypes! {
    /// 32-bit float.
    Float = 1, "float32", "float", "f32", 4;
    /// 64-bit float.
    Double = 2, "float64", "double", "f64", 8;
    /// 32-bit signed integer.
    Int32 = 3, "int32", "int32", "i32", 4;
    /// 8-bit unsigned integer.
    Uint8 = 4, "uint8", "uint8", "u8", 1;
    /// 16-bit signed integer.
    Int16 = 5, "int16", "int16", "i16", 2;
    /// 8-bit signed integer.
    Int8 = 6, "int8", "int8", "i8", 1;
    /// A byte string.
    String = 7, "string", "string", "str", 0;
    /// Two 32-bit floats.
    Complex64 = 8, "complex64", "complex64", "c64", 8;
    /// 64-bit signed integer.
    Int64 = 9, "int64", "int64", "i64", 8;
    /// A truth value.
    Bool = 10, "bool", "bool", "bool", 1;
    /// Quantized 8-bit signed integer.
    Qint8 = 11, "qint8", "qint8", "qi8", 1;
    /// Quantized 8-bit unsigned integer.
    Quint8 = 12, "quint8", "quint8", "qu8", 1;
    /// Quantized 32-bit signed integer.
    Qint32 = 13, "qint32", "qint32", "qi32", 4;
    /// 16-bit float with the exponent of a 32-bit one.
    Bfloat16 = 14, "bfloat16", "bfloat16", "bf16", 2;
    /// Quantized 16-bit signed integer.
    Qint16 = 15, "qint16", "qint16", "qi16", 2;
    /// Quantized 16-bit unsigned integer.
    Quint16 = 16, "quint16", "quint16", "qu16", 2;
    /// 16-bit unsigned integer.
    Uint16 = 17, "uint16", "uint16", "u16", 2;
    /// Two 64-bit floats.
    Complex128 = 18, "complex128", "complex128", "c128", 16;
    /// IEEE 16-bit float.
    Half = 19, "float16", "half", "f16", 2;
    /// A handle to a resource.
    Resource = 20, "resource", "resource", "res", 0;
    /// A value of any kind, such as a TensorList.
    Variant = 21, "variant", "variant", "var", 0;
    /// 32-bit unsigned integer.
    Uint32 = 22, "uint32", "uint32", "u32", 4;
    /// 64-bit unsigned integer.
    Uint64 = 23, "uint64", "uint64", "u64", 8;
    /// 8-bit float, 5 bits of exponent.
    Float8E5m2 = 24, "float8_e5m2", "float8_e5m2", "f8e5m2", 1;
    /// 8-bit float, 4 bits of exponent.
    Float8E4m3fn = 25, "float8_e4m3fn", "float8_e4m3fn", "f8e4m3", 1;
    /// 4-bit signed integer, one a byte.
    Int4 = 29, "int4", "int4", "i4", 1;
    /// 4-bit unsigned integer, one a byte.
    Uint4 = 30, "uint4", "uint4", "u4", 1;
}

impl DType {
    /// TensorFlow's number.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The element type of a `tensorflow.DataType` number, or an error that names it.
    pub fn try_from_number(number: i32) -> Result<DType> {
        DType::from_number(number).ok_or_else(|| Error::invalid_argument(format!("unknown dtype number {number}")))
    }

    /// The plain type with the same bytes: `int8` for `qint8`, itself for most.
    pub fn storage(self) -> DType {
        match self {
            DType::Qint8 | DType::Int4 => DType::Int8,
            DType::Quint8 | DType::Uint4 | DType::Float8E5m2 | DType::Float8E4m3fn => DType::Uint8,
            DType::Qint16 => DType::Int16,
            DType::Quint16 => DType::Uint16,
            DType::Qint32 => DType::Int32,
            other => other,
        }
    }

    /// Half, bfloat16, float or double.
    pub fn is_floating(self) -> bool {
        matches!(self, DType::Half | DType::Bfloat16 | DType::Float | DType::Double)
    }

    /// Complex64 or complex128.
    pub fn is_complex(self) -> bool {
        matches!(self, DType::Complex64 | DType::Complex128)
    }

    /// A signed or unsigned integer that isn't quantized.
    pub fn is_integer(self) -> bool {
        use DType::*;
        matches!(self, Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64 | Int4 | Uint4)
    }

    /// The real type of a complex one, itself otherwise.
    pub fn real(self) -> DType {
        match self {
            DType::Complex64 => DType::Float,
            DType::Complex128 => DType::Double,
            other => other,
        }
    }

    /// True for numbers and bools, whose elements are plain bytes.
    pub fn is_plain(self) -> bool {
        self.size() != 0
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
