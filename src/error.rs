//! The one error type: a TensorFlow status code, a sentence, and where it happened.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// TensorFlow's canonical status codes (`tensorflow.error.Code`), with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// The operation was cancelled.
    Cancelled = 1,
    /// Anything that fits nowhere else.
    Unknown = 2,
    /// The caller gave something that can't be used.
    InvalidArgument = 3,
    /// A deadline passed.
    DeadlineExceeded = 4,
    /// A named thing (op, tensor, file, key) isn't there.
    NotFound = 5,
    /// A thing to be created exists already.
    AlreadyExists = 6,
    /// The caller lacks permission.
    PermissionDenied = 7,
    /// A resource ran out.
    ResourceExhausted = 8,
    /// The state doesn't allow it, as with an uninitialized variable.
    FailedPrecondition = 9,
    /// The operation was aborted.
    Aborted = 10,
    /// Past the valid range, as at the end of a queue.
    OutOfRange = 11,
    /// Not implemented for this op, dtype or attribute.
    Unimplemented = 12,
    /// An invariant is broken: a bug.
    Internal = 13,
    /// The service isn't available.
    Unavailable = 14,
    /// A file is corrupt.
    DataLoss = 15,
    /// The caller isn't authenticated.
    Unauthenticated = 16,
}

impl Code {
    /// TensorFlow's number for the code.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// An error: code, sentence, and the places it passed through, innermost first.
///
/// Boxed, so that `Result<T, Error>` stays as small as `T` allows.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    context: Vec<String>,
}

impl Error {
    /// An error with a code and a sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { code, message: message.into(), context: Vec::new() }))
    }

    /// The status code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence, without the places.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The places that the error passed through, innermost first.
    pub fn context(&self) -> &[String] {
        &self.0.context
    }

    /// Adds a place (a node, a file with its offset, a key) around the error.
    #[must_use]
    pub fn within(mut self, place: impl Into<String>) -> Error {
        self.0.context.push(place.into());
        self
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident,)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Error {
                Error::new(Code::$code, message)
            })*
        }
    };
}

constructors! {
    /// An [`Code::InvalidArgument`] error.
    invalid_argument => InvalidArgument,
    /// A [`Code::NotFound`] error.
    not_found => NotFound,
    /// An [`Code::AlreadyExists`] error.
    already_exists => AlreadyExists,
    /// A [`Code::FailedPrecondition`] error.
    failed_precondition => FailedPrecondition,
    /// An [`Code::OutOfRange`] error.
    out_of_range => OutOfRange,
    /// An [`Code::Unimplemented`] error.
    unimplemented => Unimplemented,
    /// An [`Code::Internal`] error.
    internal => Internal,
    /// A [`Code::DataLoss`] error.
    data_loss => DataLoss,
    /// A [`Code::ResourceExhausted`] error.
    resource_exhausted => ResourceExhausted,
    /// A [`Code::Cancelled`] error.
    cancelled => Cancelled,
    /// A [`Code::Aborted`] error.
    aborted => Aborted,
    /// An [`Code::Unknown`] error.
    unknown => Unknown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.code, self.0.message)?;
        for place in &self.0.context {
            write!(f, "\n  in {place}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        use std::io::ErrorKind;
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            ErrorKind::AlreadyExists => Code::AlreadyExists,
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Code::DataLoss,
            ErrorKind::StorageFull | ErrorKind::OutOfMemory => Code::ResourceExhausted,
            _ => Code::Unknown,
        };
        Error::new(code, error.to_string())
    }
}

/// Returns an error from the enclosing function: `bail!(InvalidArgument, "expected {a}, got {b}")`.
macro_rules! bail {
    ($code:ident, $($arg:tt)*) => {
        return Err($crate::error::Error::new($crate::error::Code::$code, format!($($arg)*)))
    };
}
pub(crate) use bail;
