//! Lists the regular files under a directory.
//!
//! Left out: folders named `.git`, symbolic links of all kinds, and whatever is neither file nor
//! folder. The directory that the user named is walked in any case, even through a link, even if
//! its name is `.git`. Paths are relative to it, and bytes: no name is refused for its encoding.
//!
//! One folder is open at a time, however deep the tree, and a folder's files are handed out while
//! it is read, so that a hundred thousand of them need no list. What vanishes during the walk was
//! never there; what cannot be read is told to the caller and left out.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// The files under a directory, in no particular order.
#[derive(Debug)]
pub(crate) struct Walk {
    root: PathBuf,
    /// Folders still to be read, relative to `root`.
    folders: Vec<PathBuf>,
    /// The folder that is being read.
    open: Option<(PathBuf, ReadDir)>,
}

impl Walk {
    /// Opens `root`; fails if it is not a directory that can be read.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let entries = fs::read_dir(root)?;
        let open = Some((PathBuf::new(), entries));
        Ok(Self { root: root.to_owned(), folders: Vec::new(), open })
    }

    /// Opens the next folder; `None` when there is none left.
    fn open_next(&mut self) -> Option<Result<(), Trouble>> {
        let folder = self.folders.pop()?;
        match fs::read_dir(self.root.join(&folder)) {
            Ok(entries) => self.open = Some((folder, entries)),
            Err(error) if has_vanished(&error) => {}
            Err(error) => return Some(Err(Trouble::new(&folder, error))),
        }
        Some(Ok(()))
    }

    /// Keeps a folder for later, hands out a file, forgets the rest.
    fn sort(&mut self, entry: &DirEntry, path: PathBuf) -> Option<Result<PathBuf, Trouble>> {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => Some(Ok(path)),
            Ok(kind) if kind.is_dir() && entry.file_name() != OsStr::new(".git") => {
                self.folders.push(path);
                None
            }
            Ok(_) => None,
            Err(error) if has_vanished(&error) => None,
            Err(error) => Some(Err(Trouble::new(&path, error))),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((folder, entries)) = &mut self.open else {
                match self.open_next()? {
                    Ok(()) => continue,
                    Err(trouble) => return Some(Err(trouble)),
                }
            };
            let found = match entries.next() {
                Some(Ok(entry)) => {
                    let path = folder.join(entry.file_name());
                    self.sort(&entry, path)
                }
                Some(Err(error)) => {
                    // The rest of this folder cannot be read; asking again might never end.
                    let trouble = Trouble::new(folder, error);
                    self.open = None;
                    Some(Err(trouble))
                }
                None => {
                    self.open = None;
                    None
                }
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

/// Whether the error says that a path which existed is no longer there, or no longer what it was.
pub(crate) fn has_vanished(error: &io::Error) -> bool {
    // ELOOP: a symbolic link took the place of a file that is opened with O_NOFOLLOW.
    let replaced = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP];
    error.raw_os_error().is_some_and(|code| replaced.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(root: &Path) -> BTreeSet<PathBuf> {
        Walk::new(root).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn regular_files_only_and_no_git_folders() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::create_dir_all(at("a/.git/objects")).unwrap();
        fs::create_dir_all(at("empty")).unwrap();
        for file in ["top", "a/b/c/deep", "a/.git/objects/x", "a/.gitignore", "empty.txt"] {
            fs::write(at(file), "x").unwrap();
        }
        fs::create_dir_all(at("sub")).unwrap();
        fs::write(at("sub/.git"), "gitdir: elsewhere").unwrap();
        symlink(at("top"), at("link")).unwrap();
        symlink(at("a"), at("loop")).unwrap();
        symlink(dir.path(), at("a/b/up")).unwrap();
        let odd = OsStr::from_bytes(b"n\xffon\nutf8");
        fs::write(dir.path().join(odd), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

        let mut expected: BTreeSet<PathBuf> =
            ["top", "a/b/c/deep", "a/.gitignore", "empty.txt", "sub/.git"]
                .map(PathBuf::from)
                .into();
        expected.insert(odd.into());
        assert_eq!(paths(dir.path()), expected);
        assert_eq!(paths(&at("a/.git")).len(), 1, "a .git folder named by the user is walked");
        assert_eq!(paths(&at("loop")).len(), 2, "so is a link");
    }

    #[test]
    fn a_folder_that_vanishes_was_never_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut walk = Walk::new(dir.path()).unwrap();
        walk.folders.push("gone".into());
        assert!(walk.next().is_none());
    }

    #[test]
    fn a_root_that_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(Walk::new(&file).is_err());
        assert!(Walk::new(&dir.path().join("missing")).is_err());
    }
}
