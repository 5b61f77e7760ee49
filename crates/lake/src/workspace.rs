//! Workspaces: a developer's or analyst's own area, made of copies.
//!
//! Invariants: nothing in a workspace can be decrypted or leads to a person: it begins with the
//! catalogue and copies of the de-identified analytic tables, and no key is in it; it has no link
//! to anything outside, so writing in it changes nothing else; destroying it removes what is in it
//! and follows no link out. Copies share their blocks where the file system can (copy on write).

use crate::database::DatabaseError;
use crate::lake::{Lake, LayoutError, remove_folder};
use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of all workspaces in a lake's folder.
const FOLDER: &str = "workspace";

/// The folder of the de-identified tables.
pub(crate) const ANALYTICS: &str = "analytics";

/// The longest name.
const NAME_MAX: usize = 64;

/// What could not be done with a workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The name is none.
    #[error(
        "a workspace has a name of 1 to {NAME_MAX} small letters, digits, `-` and `_`, beginning with a letter"
    )]
    Name,
    /// There is one already.
    #[error("there is a workspace `{0}` already; destroy it first or take another name")]
    Exists(String),
    /// There is none.
    #[error("there is no workspace `{0}`")]
    Unknown(String),
    /// Something else than a folder stands where the workspaces should be.
    #[error("`{}` is no folder of this lake; remove it", .0.display())]
    NoFolder(PathBuf),
    /// The lake is empty or cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] DatabaseError),
    /// The file system failed.
    #[error("could not {what} the workspace")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the file system says.
        #[source]
        source: io::Error,
    },
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> WorkspaceError {
    move |source| WorkspaceError::Io { what, source }
}

impl Lake {
    /// Makes a workspace and yields its folder.
    pub fn create_workspace(&self, name: &str) -> Result<PathBuf, WorkspaceError> {
        let folder = self.workspace(name)?;
        let version = self.current_layout()?.catalogue.version();
        let catalogue = self.index.catalogue_text(version)?.ok_or(LayoutError::Empty)?;
        match private().create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(WorkspaceError::Exists(name.to_owned()));
            }
            made => made.map_err(failed("create"))?,
        }
        let before = self.last_erasure()?;
        let fill = || {
            fs::write(folder.join(crate::catalogue::FILE), catalogue)?;
            copy(&self.root.join(ANALYTICS), &folder.join(ANALYTICS))
        };
        if let Err(error) = fill() {
            let _ = fs::remove_dir_all(&folder);
            return Err(failed("fill")(error));
        }
        // An erasure that ran meanwhile may have missed what was copied after it had looked.
        if self.last_erasure()? != before {
            remove_folder(&folder.join(ANALYTICS)).map_err(failed("fill"))?;
        }
        Ok(folder)
    }

    /// The names of all workspaces.
    pub fn workspaces(&self) -> Result<Vec<String>, WorkspaceError> {
        let folder = self.workspace_folder()?;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed("list"))? {
            let entry = entry.map_err(failed("list"))?;
            let is_folder = entry.file_type().map_err(failed("list"))?.is_dir();
            names.extend(entry.file_name().into_string().ok().filter(|_| is_folder));
        }
        names.sort();
        Ok(names)
    }

    /// Removes a workspace with all that is in it, and nothing else.
    pub fn destroy_workspace(&self, name: &str) -> Result<(), WorkspaceError> {
        let folder = self.workspace(name)?;
        // What is a link is not followed: it is no workspace of this lake.
        if !fs::symlink_metadata(&folder).is_ok_and(|about| about.is_dir()) {
            return Err(WorkspaceError::Unknown(name.to_owned()));
        }
        fs::remove_dir_all(folder).map_err(failed("destroy"))
    }

    /// Removes all de-identified tables, and their copies in workspaces. They are made anew from what
    /// is there then.
    pub(crate) fn remove_analytics(&self) -> io::Result<()> {
        remove_folder(&self.root.join(ANALYTICS))?;
        let workspaces = match fs::read_dir(self.root.join(FOLDER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            workspaces => workspaces?,
        };
        for workspace in workspaces {
            let workspace = workspace?;
            if workspace.file_type()?.is_dir() {
                remove_folder(&workspace.path().join(ANALYTICS))?;
            }
        }
        Ok(())
    }

    fn workspace(&self, name: &str) -> Result<PathBuf, WorkspaceError> {
        if !is_name(name) {
            return Err(WorkspaceError::Name);
        }
        Ok(self.workspace_folder()?.join(name))
    }

    /// Makes the folder when it is not there. It is never a link to elsewhere.
    fn workspace_folder(&self) -> Result<PathBuf, WorkspaceError> {
        let folder = self.root.join(FOLDER);
        match private().create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed("create"))?,
        }
        let about = fs::symlink_metadata(&folder).map_err(failed("find"))?;
        if about.is_dir() { Ok(folder) } else { Err(WorkspaceError::NoFolder(folder)) }
    }
}

/// Whether something may be called so that has a folder of its own.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    name.len() <= NAME_MAX
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(plain)
}

#[cfg(unix)]
fn private() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private() -> DirBuilder {
    DirBuilder::new()
}

/// Copies folders and files; links are left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    private().create(to)?;
    for entry in entries {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        let about = fs::symlink_metadata(&entry)?;
        if about.is_dir() {
            copy(&entry, &to)?;
        } else if about.is_file() {
            fs::copy(&entry, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, everything, files};
    use aegle_model::Hash;

    /// Every file of the lake but those of workspaces and empty ones, by its hash; neither what a look
    /// at the databases changes.
    fn rest(world: &World) -> Vec<(PathBuf, Hash)> {
        let ours =
            |path: &PathBuf| !path.starts_with(FOLDER) && !path.to_string_lossy().contains(".db-");
        let files = files(&world.root()).into_iter();
        let files = files.filter(|(path, bytes)| ours(path) && !bytes.is_empty());
        files.map(|(path, bytes)| (path, Hash::sha256(&[&bytes]))).collect()
    }

    fn world() -> (World, Lake) {
        let world = World::new();
        let lake = world.filled();
        fs::create_dir_all(world.root().join("analytics/study")).unwrap();
        fs::write(world.root().join("analytics/study/part-0"), b"de-identified").unwrap();
        (world, lake)
    }

    #[test]
    fn what_is_done_in_a_workspace_changes_nothing_else() {
        let (world, lake) = world();
        let (before, shown) = (rest(&world), everything(&lake));
        let folder = lake.create_workspace("anna-1").unwrap();
        assert_eq!(lake.workspaces().unwrap(), ["anna-1"]);
        let inside = files(&folder);
        assert_eq!(inside.len(), 2, "the catalogue and the tables; no key and no pack");
        fs::write(folder.join("analytics/study/part-0"), b"scribbled over").unwrap();
        fs::write(folder.join("catalogue.toml"), b"").unwrap();
        assert_eq!(rest(&world), before);
        lake.destroy_workspace("anna-1").unwrap();
        assert!(!folder.exists());
        assert_eq!(lake.workspaces().unwrap(), Vec::<String>::new());
        assert_eq!((rest(&world), everything(&lake)), (before, shown));
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        let (world, lake) = world();
        let before = rest(&world);
        let long = "a".repeat(NAME_MAX + 1);
        for name in
            ["", ".", "..", "../raw", "a/b", "a\\b", "/tmp/x", "A", "1a", "-a", "a\0", "é", &long]
        {
            assert!(matches!(lake.create_workspace(name), Err(WorkspaceError::Name)), "{name}");
            assert!(matches!(lake.destroy_workspace(name), Err(WorkspaceError::Name)), "{name}");
        }
        lake.create_workspace("twice").unwrap();
        assert!(matches!(lake.create_workspace("twice"), Err(WorkspaceError::Exists(_))));
        assert!(matches!(lake.destroy_workspace("never"), Err(WorkspaceError::Unknown(_))));
        assert_eq!(rest(&world), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere_else() {
        use std::os::unix::fs::symlink;
        let (world, lake) = world();
        // A link among the tables is not copied.
        symlink(world.root().join("raw"), world.root().join("analytics/raw")).unwrap();
        let folder = lake.create_workspace("anna").unwrap();
        assert!(!folder.join("analytics/raw").exists());
        fs::remove_file(world.root().join("analytics/raw")).unwrap();
        let before = rest(&world);
        // A link in a workspace is removed, not followed.
        symlink(world.root().join("raw"), folder.join("out")).unwrap();
        symlink(world.root().join("raw"), world.root().join("workspace/raw")).unwrap();
        lake.destroy_workspace("anna").unwrap();
        assert!(matches!(lake.destroy_workspace("raw"), Err(WorkspaceError::Unknown(_))));
        assert!(matches!(lake.create_workspace("raw"), Err(WorkspaceError::Exists(_))));
        assert_eq!(lake.workspaces().unwrap(), Vec::<String>::new());
        fs::remove_dir_all(world.root().join("workspace")).unwrap();
        symlink(world.root().join("raw"), world.root().join("workspace")).unwrap();
        assert!(matches!(lake.create_workspace("new"), Err(WorkspaceError::NoFolder(_))));
        assert!(matches!(lake.destroy_workspace("packs"), Err(WorkspaceError::NoFolder(_))));
        fs::remove_file(world.root().join("workspace")).unwrap();
        assert_eq!(rest(&world), before);
    }
}
