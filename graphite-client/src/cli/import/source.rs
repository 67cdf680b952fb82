//! The files of an import.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use super::header::FileKind;

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In a file.
    Path(PathBuf),
    /// In this program.
    Built(&'static [u8]),
    /// In memory, read so many bytes at a time.
    Memory(Arc<[u8]>, usize),
}

/// A file of an import.
#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    /// Its name, for people.
    pub name: String,
    /// What it holds.
    pub kind: FileKind,
    /// Labels or the type that all of its lines have.
    pub fixed: Vec<String>,
    /// Where its bytes are.
    pub content: Content,
    /// How many they are.
    pub bytes: u64,
}

impl InputFile {
    /// Takes `FILE` or `LABEL=FILE`; several labels have colons between them.
    ///
    /// # Errors
    /// Why there is no such file, in words.
    pub(crate) fn from_arg(arg: &str, kind: FileKind) -> Result<InputFile, String> {
        // A file whose name has an equals sign is still that file.
        let (fixed, path) = match arg.split_once('=') {
            Some((fixed, path)) if !PathBuf::from(arg).exists() => (fixed, path),
            _ => ("", arg),
        };
        let fixed: Vec<String> = match kind {
            FileKind::Nodes => {
                fixed.split(':').filter(|label| !label.is_empty()).map(str::to_owned).collect()
            }
            FileKind::Edges => Some(fixed.to_owned()).filter(|word| !word.is_empty()).into_iter().collect(),
        };
        let found = std::fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
        if found.is_dir() {
            return Err(format!("{path}: it is a directory"));
        }
        let content = Content::Path(path.into());
        Ok(InputFile { name: path.to_owned(), kind, fixed, content, bytes: found.len() })
    }

    /// A file that is part of this program.
    pub(crate) fn built(name: &str, kind: FileKind, bytes: &'static [u8]) -> InputFile {
        let content = Content::Built(bytes);
        InputFile { name: name.to_owned(), kind, fixed: Vec::new(), content, bytes: bytes.len() as u64 }
    }

    /// Opens it from its front.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(&self) -> io::Result<Box<dyn BufRead + Send>> {
        Ok(match &self.content {
            Content::Path(path) => Box::new(BufReader::with_capacity(READ_BYTES, File::open(path)?)),
            Content::Built(bytes) => Box::new(*bytes),
            Content::Memory(bytes, read_bytes) => {
                Box::new(BufReader::with_capacity(*read_bytes, Cursor::new(bytes.clone())))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_labels_in_front() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("people.csv");
        let odd = dir.path().join("a=b.csv");
        std::fs::write(&plain, "x").unwrap();
        std::fs::write(&odd, "xy").unwrap();
        let arg = |fixed: &str, path: &std::path::Path| format!("{fixed}{}", path.display());

        let file = InputFile::from_arg(&arg("", &plain), FileKind::Nodes).unwrap();
        assert_eq!((file.fixed.len(), file.bytes), (0, 1));
        let file = InputFile::from_arg(&arg("Person:Admin=", &plain), FileKind::Nodes).unwrap();
        assert_eq!(file.fixed, ["Person", "Admin"]);
        let file = InputFile::from_arg(&arg("a:KNOWS=", &plain), FileKind::Edges).unwrap();
        assert_eq!(file.fixed, ["a:KNOWS"]);
        let file = InputFile::from_arg(&arg("", &odd), FileKind::Nodes).unwrap();
        assert_eq!((file.fixed.len(), file.bytes), (0, 2));
        assert!(
            InputFile::from_arg("Person=missing.csv", FileKind::Nodes).unwrap_err().contains("missing.csv")
        );
        assert!(InputFile::from_arg(dir.path().to_str().unwrap(), FileKind::Nodes).is_err());
    }
}
