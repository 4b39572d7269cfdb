//! Files: names in errors, reads by position, and output that appears under its name only when it is whole.

use crate::error::{Code, Error, Result, bail};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// An operating system's error as TensorFlow words it: `path; No such file or directory`.
pub(crate) fn io_error(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => Code::FailedPrecondition,
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => Code::InvalidArgument,
        ErrorKind::FileTooLarge => Code::OutOfRange,
        _ => Error::from(io::Error::from(error.kind())).code(),
    };
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    Error::new(code, format!("{}; {text}", path.display()))
}

/// The path with more characters at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory part of a path; `None` where that is the working directory.
pub(super) fn directory_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|p| !p.as_os_str().is_empty())
}

/// Creates the directory of a path, one level, unless it exists.
pub(super) fn create_directory_of(path: &Path) -> Result<()> {
    let Some(directory) = directory_of(path) else { return Ok(()) };
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(io_error(directory, &e)),
        _ => Ok(()),
    }
}

/// A file that is read by position, by several threads if need be.
pub(crate) struct ReadFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl ReadFile {
    pub fn open(path: &Path) -> Result<ReadFile> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::Error::new(ErrorKind::IsADirectory, "Is a directory"));
            }
            Ok(ReadFile { file, path: path.into(), len: metadata.len() })
        };
        open().map_err(|e| io_error(path, &e))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills the buffer with the bytes from an offset on.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match read_at(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => {
                    bail!(
                        OutOfRange,
                        "Read less bytes than requested: expected {} bytes at offset {offset} of {}, got {done}",
                        buffer.len(),
                        self.path.display()
                    )
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(io_error(&self.path, &e).within(format!("{} at offset {offset}", self.path.display()))),
            }
        }
        Ok(())
    }

    /// The bytes of a range that the caller has not checked. Nothing is allocated unless the file has them.
    pub fn read_range(&self, offset: u64, size: u64) -> Result<Vec<u8>> {
        self.check_range(offset, size)?;
        let size = size as usize;
        let mut buffer = Vec::new();
        if buffer.try_reserve_exact(size).is_err() {
            bail!(ResourceExhausted, "out of memory: can't read {size} bytes of {}", self.path.display());
        }
        buffer.resize(size, 0);
        self.read_exact_at(&mut buffer, offset)?;
        Ok(buffer)
    }

    /// An error unless the file has that range.
    pub fn check_range(&self, offset: u64, size: u64) -> Result<()> {
        match offset.checked_add(size) {
            Some(end) if end <= self.len && usize::try_from(size).is_ok() => Ok(()),
            _ => bail!(
                OutOfRange,
                "Read less bytes than requested: {size} bytes at offset {offset}, but {} has {} bytes",
                self.path.display(),
                self.len
            ),
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// A file under a temporary name beside its own, which [`TempFile::commit`] renames. Dropped before that, it is
/// deleted and what stood under the name stays.
pub(crate) struct TempFile {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl TempFile {
    /// Creates `PATH.tempstateNUMBER`.
    pub fn create(path: &Path) -> Result<TempFile> {
        loop {
            let temporary = with_suffix(path, &format!(".tempstate{}", random()));
            match File::options().write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(TempFile { file: Some(file), temporary, path: path.into() }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io_error(&temporary, &e)),
            }
        }
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(|e| io_error(&self.temporary, &e)),
            None => bail!(Internal, "{} is closed", self.temporary.display()),
        }
    }

    /// Writes bytes from an offset on; several threads may do so at the same time.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        let Some(file) = &self.file else { bail!(Internal, "{} is closed", self.temporary.display()) };
        while !bytes.is_empty() {
            match write_at(file, bytes, offset) {
                Ok(0) => return Err(io_error(&self.temporary, &ErrorKind::WriteZero.into())),
                Ok(n) => (bytes, offset) = (&bytes[n..], offset + n as u64),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(io_error(&self.temporary, &e)),
            }
        }
        Ok(())
    }

    /// Tells the system of bytes to come. A file some of whose bytes have no place yet is written to the disk, all of it, when
    /// it takes the name of another one (ext4's `auto_da_alloc`), which takes longer than all else.
    pub fn reserve(&self, offset: u64, len: u64) {
        #[cfg(target_os = "linux")]
        if let (Some(file), 1.., Ok(offset), Ok(len)) = (&self.file, len, offset.try_into(), len.try_into()) {
            use std::os::fd::AsRawFd;
            // SAFETY: the descriptor is open. Where this isn't possible, or there is no room, the write tells.
            unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, len) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, len);
    }

    /// Ends the writing; `sync` waits until the bytes are on the disk.
    pub fn close(&mut self, sync: bool) -> Result<()> {
        match self.file.take() {
            Some(file) if sync => file.sync_all().map_err(|e| io_error(&self.temporary, &e)),
            _ => Ok(()),
        }
    }

    /// Gives the file its name, replacing what had it.
    pub fn commit(mut self, sync: bool) -> Result<()> {
        self.close(sync)?;
        std::fs::rename(&self.temporary, &self.path).map_err(|e| io_error(&self.path, &e))?;
        self.temporary.clear();
        if sync && cfg!(unix) {
            let directory = directory_of(&self.path).unwrap_or(Path::new("."));
            File::open(directory).and_then(|d| d.sync_all()).map_err(|e| io_error(directory, &e))?;
        }
        Ok(())
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            self.file = None;
            // Nothing more can be done for a temporary file that doesn't go away.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a whole file, or leaves what stood under its name.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = TempFile::create(path)?;
    file.append(bytes)?;
    file.commit(false)
}

/// A number that differs between calls and processes.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
