//! `import --all --output-dir`: a file for each bucket, and an index of what was taken, what was not and why.
//!
//! In: the manifest of each bucket, or why there is none, and whether the cluster was asked for its resources. Out:
//! files whose names, order and content depend on AWS and on those resources alone, so that a second run changes no
//! byte. A file that someone has edited is left, unless the user says otherwise. A file of an earlier run whose bucket
//! is not taken any more is named and left: applied, it would restore what someone removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::counted::{counted, form};
use crate::replication::import::resource_name;

/// The note where nobody knows which buckets have a resource.
pub const NOT_ASKED: &str = "No cluster was asked for its BucketReplications: a bucket that has one already may be among those taken.";

/// A bucket that replicates, and the manifest for it, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub bucket: String,
    pub manifest: Result<String, NotTaken>,
}

/// Why there is no manifest of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Why it cannot be taken.
    Refused(String),
    /// The `BucketReplication` of the cluster that is about it, as `NAMESPACE/NAME`.
    HasResource(String),
}

/// The buckets of an account, and whether the cluster was asked which of them have a resource.
#[derive(Clone, Debug, Default)]
pub struct ImportedAccount {
    pub buckets: Vec<Imported>,
    pub is_cluster_asked: bool,
}

impl ImportedAccount {
    fn taken(&self) -> impl Iterator<Item = &Imported> {
        self.buckets.iter().filter(|one| one.manifest.is_ok())
    }

    fn refused(&self) -> Vec<(&str, &str)> {
        self.buckets
            .iter()
            .filter_map(|one| match &one.manifest {
                Err(NotTaken::Refused(why)) => Some((one.bucket.as_str(), why.as_str())),
                _ => None,
            })
            .collect()
    }

    /// The buckets that have a resource in the cluster, each with it.
    fn left_out(&self) -> Vec<(&str, &str)> {
        self.buckets
            .iter()
            .filter_map(|one| match &one.manifest {
                Err(NotTaken::HasResource(resource)) => Some((one.bucket.as_str(), resource.as_str())),
                _ => None,
            })
            .collect()
    }
}

/// The result for the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenFiles {
    pub created: usize,
    pub replaced: usize,
    /// Files that hold the manifest already.
    pub equal: usize,
    /// Files with another content, which were left.
    pub kept: Vec<PathBuf>,
    /// Files of an earlier run whose buckets are not taken any more, which were left.
    pub outdated: Vec<PathBuf>,
    /// Buckets that could not be taken.
    pub refused: usize,
    /// Buckets that have a resource in the cluster.
    pub left_out: usize,
    pub is_cluster_asked: bool,
    pub index: PathBuf,
}

impl WrittenFiles {
    /// Whether something needs attention: exit code 2.
    pub fn is_wrong(&self) -> bool {
        self.refused > 0 || !self.kept.is_empty() || !self.outdated.is_empty()
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let WrittenFiles {
            created,
            replaced,
            equal,
            kept,
            outdated,
            refused,
            left_out,
            is_cluster_asked,
            index,
        } = self;
        let taken = created + replaced + equal + kept.len();
        let mut text = format!(
            "{} {} taken: {} created, {replaced} replaced, {equal} unchanged\n",
            counted(taken, "bucket"),
            form(taken, "is", "are"),
            counted(*created, "file"),
        );
        if *left_out > 0 {
            text.push_str(&format!(
                "{} {} left out, because a BucketReplication of the cluster is about {}\n",
                counted(*left_out, "bucket"),
                form(*left_out, "is", "are"),
                form(*left_out, "it", "them"),
            ));
        }
        if !is_cluster_asked {
            text.push_str(&format!("{NOT_ASKED}\n"));
        }
        for file in kept {
            text.push_str(&format!("! {} differs and is left: pass --force to replace it\n", file.display()));
        }
        for file in outdated {
            text.push_str(&format!(
                "! {} is of a bucket that is not taken any more: delete the file, or applying it writes the former configuration again\n",
                file.display()
            ));
        }
        if *refused > 0 {
            text.push_str(&format!("! {} cannot be taken\n", counted(*refused, "bucket")));
        }
        text.push_str(&format!("→ {}\n", index.display()));
        text
    }
}

/// The file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct DirectoryError {
    path: String,
    #[source]
    source: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.display().to_string();
    move |source| DirectoryError { path, source }
}

/// Writes the files of an account into a directory, which is created if need be.
///
/// # Errors
/// When a file cannot be read or written. Each file is either the former or the new one.
pub fn write(
    directory: &Path,
    account_id: &str,
    imported: &ImportedAccount,
    force: bool,
) -> Result<WrittenFiles, DirectoryError> {
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut written = WrittenFiles {
        index: directory.join(format!("import-{account_id}.md")),
        refused: imported.refused().len(),
        left_out: imported.left_out().len(),
        is_cluster_asked: imported.is_cluster_asked,
        ..WrittenFiles::default()
    };
    for Imported { bucket, manifest } in &imported.buckets {
        let Ok(manifest) = manifest else { continue };
        let path = directory.join(file_name(bucket));
        match read(&path)? {
            None => written.created += 1,
            Some(held) if held == *manifest => {
                written.equal += 1;
                continue;
            }
            Some(_) if force => written.replaced += 1,
            Some(_) => {
                written.kept.push(path);
                continue;
            }
        }
        replace(&path, manifest)?;
    }
    let former = read(&written.index)?;
    let left = outdated(directory, former.as_deref(), &imported.buckets)?;
    let index = index_of(account_id, imported, &left);
    if former.as_deref() != Some(index.as_str()) {
        replace(&written.index, &index)?;
    }
    written.outdated = left.into_iter().map(|file| directory.join(file)).collect();
    Ok(written)
}

/// The names of the files that an earlier run wrote, or that are named as one of a bucket that cannot be taken, without
/// those that are up to date.
fn outdated(
    directory: &Path,
    former_index: Option<&str>,
    imported: &[Imported],
) -> Result<BTreeSet<String>, DirectoryError> {
    let (taken, refused): (Vec<&Imported>, Vec<&Imported>) =
        imported.iter().partition(|one| one.manifest.is_ok());
    let taken: BTreeSet<String> = taken.into_iter().map(|one| file_name(&one.bucket)).collect();
    let mut files: BTreeSet<String> = refused.into_iter().map(|one| file_name(&one.bucket)).collect();
    files.extend(former_index.into_iter().flat_map(files_in).map(str::to_owned));
    let mut held = BTreeSet::new();
    for file in files.difference(&taken) {
        let path = directory.join(file);
        if path.try_exists().map_err(failed(&path))? {
            held.insert(file.clone());
        }
    }
    Ok(held)
}

/// The files to which the rows of an index link.
fn files_in(index: &str) -> impl Iterator<Item = &str> {
    index.lines().filter_map(file_of_row)
}

fn file_of_row(row: &str) -> Option<&str> {
    let (_, file) = row.strip_prefix("| ")?.strip_suffix(") |")?.rsplit_once("](")?;
    (file.ends_with(".yaml") && !file.contains(['/', '\\'])).then_some(file)
}

/// Whether the directory has a file of a bucket, such as one of an earlier run.
pub fn has_file(directory: &Path, bucket: &str) -> bool {
    directory.join(file_name(bucket)).exists()
}

/// The name of the file of a bucket: two buckets never share one.
fn file_name(bucket: &str) -> String {
    format!("{}.yaml", resource_name(bucket))
}

fn read(path: &Path) -> Result<Option<String>, DirectoryError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Replaces a file as a whole: an interrupted command leaves no half of one.
fn replace(path: &Path, text: &str) -> Result<(), DirectoryError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::write(&part, text).and_then(|()| fs::rename(&part, path)).map_err(failed(path))
}

/// The index, as Markdown: no time and nothing else that differs between two runs.
fn index_of(account_id: &str, imported: &ImportedAccount, outdated: &BTreeSet<String>) -> String {
    let taken: Vec<&Imported> = imported.taken().collect();
    let (refused, left_out) = (imported.refused(), imported.left_out());
    let mut text = format!(
        "# Account {account_id}\n\nBuckets that replicate: {} taken, {} left out, {} not taken.\n",
        taken.len(),
        left_out.len(),
        refused.len(),
    );
    if !taken.is_empty() {
        let first = if outdated.is_empty() { "" } else { "Delete the files that are outdated first. " };
        text.push_str(&format!(
            "\n{first}Apply the files with `kubectl apply -f DIRECTORY`: the operator finds nothing to change.\n"
        ));
    }
    if !imported.is_cluster_asked {
        text.push_str(&format!("\n{NOT_ASKED}\n"));
    }
    if !outdated.is_empty() {
        text.push_str(
            "\n## Outdated\n\nThese files are of an earlier import, and their buckets are not taken any more. Applied, each makes the \
             operator write the former configuration again, or ends in `SourceConflict` where another resource has the bucket.\n\n| File |\n| --- |\n",
        );
        text.extend(outdated.iter().map(|file| format!("| [{file}]({file}) |\n")));
    }
    if !taken.is_empty() {
        text.push_str("\n## Taken\n\n| Bucket | File |\n| --- | --- |\n");
        let rows = taken
            .iter()
            .map(|one| format!("| {0} | [{1}]({1}) |\n", cell(&one.bucket), file_name(&one.bucket)));
        text.extend(rows);
    }
    if !left_out.is_empty() {
        text.push_str(
            "\n## Left out\n\nA resource of the cluster is about each of these buckets already.\n\n\
             | Bucket | BucketReplication |\n| --- | --- |\n",
        );
        text.extend(
            left_out.iter().map(|(bucket, resource)| format!("| {} | {} |\n", cell(bucket), cell(resource))),
        );
    }
    if !refused.is_empty() {
        text.push_str("\n## Not taken\n\n| Bucket | Why |\n| --- | --- |\n");
        text.extend(refused.iter().map(|(bucket, why)| format!("| {} | {} |\n", cell(bucket), cell(why))));
    }
    text
}

/// Text that neither ends a cell nor begins HTML.
fn cell(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "&#124;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn imported(bucket: &str, manifest: Result<&str, &str>) -> Imported {
        let manifest = manifest.map(str::to_owned).map_err(|why| NotTaken::Refused(why.to_owned()));
        Imported { bucket: bucket.to_owned(), manifest }
    }

    fn account(buckets: &[Imported]) -> ImportedAccount {
        ImportedAccount { buckets: buckets.to_vec(), is_cluster_asked: true }
    }

    fn write_all(directory: &Path, account_id: &str, buckets: &[Imported], force: bool) -> WrittenFiles {
        write(directory, account_id, &account(buckets), force).unwrap()
    }

    #[test]
    fn a_bucket_that_has_a_resource_is_left_out_and_named_with_it() {
        let directory = empty_directory("left-out");
        let has = Imported {
            bucket: "b".to_owned(),
            manifest: Err(NotTaken::HasResource("data/orders".to_owned())),
        };
        let buckets = account(&[imported("a", Ok("one\n")), has]);
        let first = write(&directory, "1", &buckets, false).unwrap();
        assert_eq!((first.created, first.left_out, first.is_wrong()), (1, 1, false));
        assert!(
            first.text().starts_with(
                "1 bucket is taken: 1 file created, 0 replaced, 0 unchanged\n1 bucket is left out"
            ),
            "{}",
            first.text()
        );
        let held = contents(&directory);
        let index = &held["import-1.md"];
        assert!(index.contains("1 taken, 1 left out, 0 not taken."), "{index}");
        assert!(index.contains("## Left out\n") && index.contains("| b | data/orders |\n"), "{index}");
        assert!(!index.contains("No cluster was asked"), "{index}");
        write(&directory, "1", &buckets, false).unwrap();
        assert_eq!(contents(&directory), held, "a second run changes no byte");

        let unasked = ImportedAccount { is_cluster_asked: false, ..buckets };
        let text = write(&directory, "1", &unasked, false).unwrap().text();
        assert!(text.contains("No cluster was asked"), "{text}");
        assert!(contents(&directory)["import-1.md"].contains("No cluster was asked"));
        fs::remove_dir_all(&directory).unwrap();
    }

    fn empty_directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn contents(directory: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_second_run_changes_no_byte() {
        let directory = empty_directory("twice");
        let buckets = [
            imported("a.b", Ok("one\n")),
            imported("c", Err("an | odd\n<rule>")),
            imported("d", Ok("two\n")),
        ];
        let first = write_all(&directory, "111122223333", &buckets, false);
        assert_eq!((first.created, first.refused), (2, 1));
        let held = contents(&directory);
        assert_eq!(held.len(), 3);
        let index = &held["import-111122223333.md"];
        assert!(index.contains("an &#124; odd &lt;rule>") && index.contains("](d.yaml)"), "{index}");

        let second = write_all(&directory, "111122223333", &buckets, false);
        assert_eq!((second.created, second.equal), (0, 2));
        assert_eq!(contents(&directory), held);
        fs::remove_dir_all(&directory).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Buckets may be named as the resources of others are, and come and go.
        #[test]
        fn each_bucket_has_a_file_of_its_own_that_other_buckets_do_not_change(
            drawn in btree_set("[ab][ab.-]{1,6}[ab]", 1..12),
            alone in any::<Index>(),
        ) {
            let named_alike = drawn.iter().flat_map(|name| [name.replace('.', "-"), resource_name(name)]);
            // S3 gives no bucket a longer name.
            let named_alike = named_alike.filter(|name| name.len() <= 63);
            let buckets: BTreeSet<String> = named_alike.chain(drawn.clone()).collect();
            let texts: Vec<(String, String)> =
                buckets.iter().map(|bucket| (bucket.clone(), format!("of {bucket}\n"))).collect();
            let all: Vec<Imported> = texts.iter().map(|(bucket, text)| imported(bucket, Ok(text))).collect();
            let directory = empty_directory("unique");
            let first = write_all(&directory, "1", &all, false);
            prop_assert_eq!((first.created, first.kept.len()), (all.len(), 0));
            let held = contents(&directory);
            prop_assert_eq!(held.len(), all.len() + 1, "a file each, and the index");
            let second = write_all(&directory, "1", &all, false);
            prop_assert_eq!((second.equal, second.is_wrong()), (all.len(), false));
            prop_assert_eq!(&contents(&directory), &held, "a second run changes no byte");
            fs::remove_dir_all(&directory).unwrap();

            let one = all[alone.index(all.len())].clone();
            let directory = empty_directory("alone");
            write_all(&directory, "1", std::slice::from_ref(&one), false);
            let (file, by_itself) = (file_name(&one.bucket), contents(&directory));
            prop_assert_eq!(by_itself.get(&file), held.get(&file), "others make no difference");
            fs::remove_dir_all(&directory).unwrap();
        }
    }

    #[test]
    fn a_file_that_someone_edited_is_left_unless_forced() {
        let directory = empty_directory("edited");
        let buckets = [imported("a", Ok("one\n"))];
        write_all(&directory, "111122223333", &buckets, false);
        fs::write(directory.join("a.yaml"), "mine\n").unwrap();
        let left = write_all(&directory, "111122223333", &buckets, false);
        assert_eq!(left.kept, [directory.join("a.yaml")]);
        assert!(left.is_wrong() && left.text().contains("--force"));
        assert_eq!(contents(&directory)["a.yaml"], "mine\n");
        let forced = write_all(&directory, "111122223333", &buckets, true);
        assert_eq!((forced.replaced, forced.is_wrong()), (1, false));
        assert_eq!(contents(&directory)["a.yaml"], "one\n");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_whose_bucket_is_not_taken_any_more_is_named_until_it_is_deleted() {
        let directory = empty_directory("outdated");
        let one = |bucket| imported(bucket, Ok("text\n"));
        write_all(&directory, "111122223333", &[one("a"), one("b"), one("c")], false);
        fs::write(directory.join("mine.yaml"), "mine\n").unwrap();

        // The replication of b was removed, and that of c can no longer be expressed.
        let now = [one("a"), imported("c", Err("odd"))];
        let second = write_all(&directory, "111122223333", &now, false);
        assert_eq!(second.outdated, [directory.join("b.yaml"), directory.join("c.yaml")]);
        assert!(second.is_wrong() && second.text().contains("b.yaml is of a bucket"), "{}", second.text());
        let held = contents(&directory);
        let index = &held["import-111122223333.md"];
        assert!(index.contains("## Outdated") && index.contains("| [b.yaml](b.yaml) |"), "{index}");
        assert_eq!(held["b.yaml"], "text\n", "nothing is deleted");

        let third = write_all(&directory, "111122223333", &now, false);
        assert_eq!((third.outdated, &contents(&directory)), (second.outdated, &held), "it is still named");

        for file in ["b.yaml", "c.yaml"] {
            fs::remove_file(directory.join(file)).unwrap();
        }
        let last = write_all(&directory, "111122223333", &now[..1], false);
        assert!(!last.is_wrong(), "{}", last.text());
        assert!(!contents(&directory)["import-111122223333.md"].contains("Outdated"));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_of_a_bucket_that_cannot_be_taken_is_outdated_also_without_an_index() {
        let directory = empty_directory("no-index");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("a.yaml"), "text\n").unwrap();
        let written = write_all(&directory, "1", &[imported("a", Err("odd"))], false);
        assert_eq!(written.outdated, [directory.join("a.yaml")]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn an_index_names_no_file_outside_its_directory() {
        let index =
            "| a | [a.yaml](a.yaml) |\n| [b.yaml](b.yaml) |\n| x | [x](../x.yaml) |\n| c | why](c.yaml) |x\n";
        assert_eq!(files_in(index).collect::<Vec<_>>(), ["a.yaml", "b.yaml"]);
    }
}
