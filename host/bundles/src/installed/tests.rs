use super::*;
use crate::bundle::tests::{bundle, part};

fn versions(installed: &Installed) -> Vec<String> {
    let (found, errors) = installed.list();
    assert!(errors.is_empty(), "{errors:?}");
    found.iter().map(|one| one.index.title()).collect()
}

fn version(number: &str) -> Bundle {
    bundle("tools", number, vec![part("tool", number.as_bytes())])
}

#[test]
fn the_last_installed_version_counts_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::below(folder.path());
    assert!(versions(&installed).is_empty());
    assert_eq!(
        installed.install(&version("1.0.0")).unwrap(),
        Replaced::Nothing
    );
    assert_eq!(
        installed.install(&version("1.10.0")).unwrap(),
        Replaced::Older("1.0.0".parse().unwrap())
    );
    assert_eq!(versions(&installed), ["tools 1.10.0"]);
    assert_eq!(
        installed.install(&version("1.0.0")).unwrap(),
        Replaced::Newer("1.10.0".parse().unwrap())
    );
    assert_eq!(
        installed.install(&version("1.0.0")).unwrap(),
        Replaced::Same
    );
    assert_eq!(versions(&installed), ["tools 1.0.0"]);
    assert_eq!(installed.list().0[0].others, ["1.10.0".parse().unwrap()]);
}

#[test]
fn a_version_has_one_content() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::below(folder.path());
    installed.install(&version("1.0.0")).unwrap();
    let other = bundle("tools", "1.0.0", vec![part("tool", b"other")]);
    let error = installed.install(&other).unwrap_err().to_string();
    assert!(
        error.contains("another content") && error.contains("uninstall tools"),
        "{error}"
    );
    // A damaged file is no content: the same version can be installed over it.
    let file = installed.file("tools", &"1.0.0".parse().unwrap()).unwrap();
    fs::write(&file, b"damaged").unwrap();
    let error = installed.list().1[0].to_string();
    assert!(error.contains("install it again"), "{error}");
    installed.install(&version("1.0.0")).unwrap();
    assert_eq!(versions(&installed), ["tools 1.0.0"]);
}

#[test]
fn a_crash_at_any_step_leaves_the_old_state_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::below(folder.path());
    installed.install(&version("1.0.0")).unwrap();
    let tools = folder.path().join("bundles/tools");
    // Killed while writing the bundle, ...
    let part = tools.join(".part-1-1-2.0.0.bundle");
    fs::write(&part, &version("2.0.0").bytes()[..40]).unwrap();
    assert_eq!(versions(&installed), ["tools 1.0.0"]);
    // ... after it was moved into place, ...
    version("2.0.0").write(&tools.join("2.0.0.bundle")).unwrap();
    assert_eq!(versions(&installed), ["tools 1.0.0"]);
    // ... while writing which version counts.
    fs::write(tools.join(".part-1-2-current"), "2.").unwrap();
    assert_eq!(versions(&installed), ["tools 1.0.0"]);
    // The next installation cleans up.
    installed.install(&version("2.0.0")).unwrap();
    assert_eq!(versions(&installed), ["tools 2.0.0"]);
    assert!(!part.exists() && !tools.join(".part-1-2-current").exists());
    // A removal that was killed after its first step: nothing counts any more.
    fs::remove_file(tools.join("current")).unwrap();
    assert!(versions(&installed).is_empty());
    installed.uninstall("tools", None).unwrap();
    assert!(!tools.exists());
}

#[test]
fn what_is_removed_is_named_and_the_version_that_counts_stays() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::below(folder.path());
    let error = |name: &str, version: Option<&str>| {
        let version = version.map(|text| text.parse().unwrap());
        installed
            .uninstall(name, version.as_ref())
            .unwrap_err()
            .to_string()
    };
    assert!(error("tools", None).contains("no bundle is"));
    installed.install(&version("1.0.0")).unwrap();
    installed.install(&version("2.0.0")).unwrap();
    assert!(error("tool", None).contains("there are tools"));
    assert!(error("../bundles", None).contains("no bundle"));
    assert!(error("tools", Some("3.0.0")).contains("1.0.0, 2.0.0"));
    assert!(error("tools", Some("2.0.0")).contains("the version that counts"));
    let one = "1.0.0".parse().unwrap();
    assert_eq!(installed.uninstall("tools", Some(&one)).unwrap(), [one]);
    assert_eq!(
        installed.uninstall("tools", None).unwrap(),
        ["2.0.0".parse().unwrap()]
    );
    assert!(versions(&installed).is_empty());
}
