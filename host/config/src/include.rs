//! `include`: several files as one configuration.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::node::{Data, Node, Position};
use crate::problem::{Problem, ProblemKind};
use crate::source::{self, Source};
use crate::yaml;

/// Most files one configuration is made of: an end to includes that make up new names.
const FILES_MAX: usize = 256;

/// The merged files.
#[derive(Clone)]
pub(crate) struct Merged {
    /// The configuration as one mapping, `include` removed.
    pub root: Node,
    /// Every file that was read, the first one first.
    pub files: Vec<PathBuf>,
}

/// Reads the source and all it includes. What is wrong goes to `problems`; as much as can be read
/// is returned, so that one check shows as much as possible.
pub(crate) fn read(source: &Source, problems: &mut Vec<Problem>) -> Merged {
    let empty = || Node::new(Data::Map(indexmap::IndexMap::new()), Position::default());
    match source {
        Source::Empty => Merged {
            root: empty(),
            files: Vec::new(),
        },
        Source::Text { name, text } => {
            let name: Arc<str> = name.as_str().into();
            let root = top_mapping(text, &name, problems).unwrap_or_else(empty);
            Reader::new(Path::new("."), problems).merge(root, Vec::new())
        }
        Source::File(path) => {
            let name: Arc<str> = path.to_string_lossy().into();
            let root = match source::read(path, &name) {
                Ok(text) => top_mapping(&text, &name, problems).unwrap_or_else(empty),
                Err(problem) => {
                    problems.push(problem);
                    empty()
                }
            };
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut reader = Reader::new(folder, problems);
            reader
                .seen
                .insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
            reader.merge(root, vec![path.clone()])
        }
    }
}

struct Reader<'a> {
    /// Folder of the first file: where an included path is looked for second.
    root_folder: PathBuf,
    seen: HashSet<PathBuf>,
    problems: &'a mut Vec<Problem>,
}

/// An include that waits to be read.
struct Wanted {
    path: PathBuf,
    declared_in: PathBuf,
    at: Position,
}

impl<'a> Reader<'a> {
    fn new(root_folder: &Path, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            root_folder: root_folder.to_owned(),
            seen: HashSet::new(),
            problems,
        }
    }

    /// Merges what the root includes into it, breadth first in list order.
    fn merge(mut self, mut root: Node, mut files: Vec<PathBuf>) -> Merged {
        let folder = self.root_folder.clone();
        let mut queue: VecDeque<Wanted> = self.take_includes(&mut root, &folder).into();
        while let Some(wanted) = queue.pop_front() {
            let Some(path) = self.find(&wanted) else {
                continue;
            };
            let identity = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if !self.seen.insert(identity) {
                continue;
            }
            if files.len() >= FILES_MAX {
                self.error(
                    &wanted.at,
                    format!("more than {FILES_MAX} files are included"),
                );
                break;
            }
            let name: Arc<str> = path.to_string_lossy().into();
            files.push(path.clone());
            let text = match source::read(&path, &name) {
                Ok(text) => text,
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            let Some(mut included) = top_mapping(&text, &name, self.problems) else {
                continue;
            };
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            queue.extend(self.take_includes(&mut included, &folder));
            self.join(&mut root, included);
        }
        Merged { root, files }
    }

    /// Removes `include` from a file's mapping and returns the paths it lists.
    fn take_includes(&mut self, node: &mut Node, folder: &Path) -> Vec<Wanted> {
        let Some(entry) = node
            .as_map_mut()
            .and_then(|entries| entries.shift_remove("include"))
        else {
            return Vec::new();
        };
        let items = match entry.node.data {
            Data::Null => return Vec::new(),
            Data::List(items) if items.iter().all(|item| item.as_text().is_some()) => items,
            _ => {
                self.error(&entry.node.at, "must be a list of file paths".to_owned());
                return Vec::new();
            }
        };
        items
            .into_iter()
            .filter_map(|item| {
                let path = PathBuf::from(item.as_text()?);
                Some(Wanted {
                    path,
                    declared_in: folder.to_owned(),
                    at: item.at,
                })
            })
            .collect()
    }

    /// The file an include means: relative to the file that declares it, else to the first file.
    fn find(&mut self, wanted: &Wanted) -> Option<PathBuf> {
        let beside = wanted.declared_in.join(&wanted.path);
        if beside.is_file() {
            return Some(beside);
        }
        let at_root = self.root_folder.join(&wanted.path);
        if at_root.is_file() {
            let message = format!(
                "{} is not beside the file that includes it; the one beside the first file is read",
                wanted.path.display()
            );
            self.problems.push(Problem::warning(
                ProblemKind::Include,
                &wanted.at,
                "include",
                message,
            ));
            return Some(at_root);
        }
        self.error(
            &wanted.at,
            format!("the file {} does not exist", beside.display()),
        );
        None
    }

    /// Joins an included file into the whole: lists are appended, anything else replaces.
    fn join(&mut self, root: &mut Node, included: Node) {
        let (Some(whole), Data::Map(entries)) = (root.as_map_mut(), included.data) else {
            return;
        };
        for (name, entry) in entries {
            match whole.get_mut(&name) {
                None => {
                    whole.insert(name, entry);
                }
                Some(present) => match (&mut present.node.data, entry.node.data) {
                    (Data::List(items), Data::List(more)) => items.extend(more),
                    (_, data) => {
                        if !present.node.is_null() {
                            let by = entry.key_at.file().unwrap_or_default();
                            let message = format!(
                                "is replaced as a whole by the one in {by} line {}",
                                entry.key_at.line
                            );
                            let problem = Problem::warning(
                                ProblemKind::Include,
                                &present.key_at,
                                name,
                                message,
                            )
                            .fix("keep each section in one file");
                            self.problems.push(problem);
                        }
                        present.key_at = entry.key_at;
                        present.node = Node {
                            data,
                            at: entry.node.at,
                            variable: None,
                        };
                    }
                },
            }
        }
    }

    fn error(&mut self, at: &Position, message: String) {
        self.problems
            .push(Problem::error(ProblemKind::Include, at, "include", message));
    }
}

/// Parses a file that must hold a mapping.
fn top_mapping(text: &str, name: &Arc<str>, problems: &mut Vec<Problem>) -> Option<Node> {
    let node = match yaml::parse(text, name, problems) {
        Ok(node) => node,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let refuse = match node.data {
        Data::Map(_) => return Some(node),
        Data::Null => Problem::error(
            ProblemKind::File,
            &Position::of_file(name),
            "",
            "the configuration is empty",
        ),
        _ => Problem::error(
            ProblemKind::Syntax,
            &node.at,
            "",
            format!("the configuration must be a mapping, not {}", node.shape()),
        ),
    };
    problems.push(refuse.fix("begin with a section such as `model_list:`"));
    None
}
