//! `witgate plugin` keygen, bundle, sign, verify, install, uninstall, push, pull.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use semver::{Version, VersionReq};
use witgate_bundles::{
    Artefact, BUNDLE_MAX, Bundle, COMPONENT_MAX, Content, Digest, Fetched, Index, Installed,
    KeyPair, PublicKey, Pulled, Reference, Registries, Replaced, SIGNATURE_FILE, Signatures,
    Subject, Trust, TrustedKey, read_bounded, write_atomically,
};
use witgate_config::Loaded;
use witgate_toolkit::BundleRequest;

use crate::cli::TrustArgs;
use crate::wiring::{self, Paths};

/// Keys and signatures are small.
const SMALL_MAX: u64 = 64 << 10;

pub(super) fn keygen(name: &Path) -> anyhow::Result<()> {
    let with = |ending: &str| {
        let mut path = name.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let (secret, public) = (with(".key"), with(".pub"));
    if let Some(there) = [&secret, &public].into_iter().find(|path| path.exists()) {
        bail!(
            "{} exists already; a key is never overwritten: choose another name",
            there.display()
        );
    }
    let (pair, pem) = KeyPair::generate()?;
    let title = name.file_name().unwrap_or_default().to_string_lossy();
    create_private(&secret, pem.as_bytes())?;
    fs::write(&public, format!("{} {title}\n", pair.public()))
        .with_context(|| format!("cannot write {}", public.display()))?;
    println!("{}", pair.public());
    eprintln!(
        "{} signs; keep it secret. {} is for those who trust it:\nplugin_trust: {{keys: {{{title}: '{}'}}}}",
        secret.display(),
        public.display(),
        pair.public()
    );
    Ok(())
}

pub(super) fn bundle(
    request: BundleRequest,
    out: Option<PathBuf>,
    key: Option<&Path>,
) -> anyhow::Result<()> {
    let pair = key.map(key_pair).transpose()?;
    let mut bundle = witgate_toolkit::bundle(request)?;
    if let Some(pair) = &pair {
        bundle.sign(pair);
    }
    let out = out.unwrap_or_else(|| file_name(&bundle.index));
    bundle.write(&out)?;
    print!("{}", contents(&bundle.index));
    println!("{}  {}", out.display(), bundle.digest);
    Ok(())
}

pub(super) fn sign(file: &Path, key: &Path) -> anyhow::Result<()> {
    let pair = key_pair(key)?;
    if is_bundle(file)? {
        let mut bundle = Bundle::read(file).with_context(|| file.display().to_string())?;
        bundle.sign(&pair);
        bundle.write(file)?;
        println!("{}  {}", file.display(), bundle.digest);
        eprintln!(
            "{} is signed by key {}",
            bundle.index.title(),
            pair.public().id()
        );
        return Ok(());
    }
    let (bytes, signatures) = match component(file) {
        // A new build of the same file: what was signed is not there any more.
        Err(_) => (read(file, COMPONENT_MAX)?, Signatures::default()),
        Ok(both) => both,
    };
    witgate_toolkit::component_facts(file, &bytes)?;
    let digest = Digest::of(&bytes);
    let beside = signature_file(file);
    let signatures = signatures.with(&pair, Subject::Component, &digest);
    write_atomically(&beside, signatures.to_json().as_bytes())
        .with_context(|| format!("cannot write {}", beside.display()))?;
    println!("{}  {digest}", beside.display());
    eprintln!("{} is signed by key {}", file.display(), pair.public().id());
    Ok(())
}

pub(super) fn verify(file: &Path, args: &TrustArgs) -> anyhow::Result<()> {
    let (_, _, trust) = trusted(args, None)?;
    let signers = match is_bundle(file)? {
        true => {
            let bundle = Bundle::read(file).with_context(|| file.display().to_string())?;
            print!("{}", contents(&bundle.index));
            println!("{}  {}", file.display(), bundle.digest);
            bundle.signatures.signers()
        }
        false => {
            let (bytes, signatures) = component(file)?;
            witgate_toolkit::component_facts(file, &bytes)?;
            println!("{}  {}", file.display(), Digest::of(&bytes));
            signatures.signers()
        }
    };
    for key in &signers {
        println!("signed by {key} ({})", key.id());
    }
    if trust.is_empty() {
        bail!(
            "it is intact, but no key was given that could be trusted; give --key FILE.pub, or --config with `plugin_trust`"
        );
    }
    let name = trust
        .signer(&signers)
        .ok_or_else(|| anyhow!("{}: {}", file.display(), trust.refusal(&signers)))?;
    println!("trusted as {name}");
    Ok(())
}

pub(super) fn install(
    source: &str,
    args: &TrustArgs,
    data_dir: Option<&Path>,
) -> anyhow::Result<()> {
    let (loaded, paths, trust) = trusted(args, data_dir)?;
    let installed = Installed::below(&paths.data_dir);
    let from_registry = Reference::is_one(source);
    let bundle = match from_registry {
        false => {
            let file = Path::new(source);
            if !is_bundle(file)? {
                bail!(
                    "{source} is a single component; make a bundle of it with `witgate plugin bundle {source}`, or name it in `plugins.NAME.source`"
                );
            }
            Bundle::read(file).with_context(|| source.to_owned())?
        }
        true => {
            let registries = registries(&loaded)?;
            let (reference, fetched) = fetch(source, &registries, &paths)?;
            if fetched.content == Content::Component {
                bail!("{source} is a single component; name it in `plugins.NAME.source`");
            }
            if trust.is_empty() && reference.digest.is_none() {
                bail!(
                    "{source} comes from a registry and nothing vouches for it; give the signer's key with --key or --config, or pin it: {}",
                    reference.pinned(fetched.manifest)
                );
            }
            Bundle::read(&fetched.path).with_context(|| source.to_owned())?
        }
    };
    let signers = bundle.signatures.signers();
    let signer = trust.signer(&signers);
    if signer.is_none() && !trust.is_empty() {
        bail!("{source} is refused: {}", trust.refusal(&signers));
    }
    check_pins(&loaded, &bundle)?;
    let replaced = installed.install(&bundle)?;
    let title = bundle.index.title();
    print!("{}", contents(&bundle.index));
    let by = signer.map_or_else(
        || "nobody vouches for it".to_owned(),
        |name| format!("signed by {name}"),
    );
    println!("installed {title}  {}  {by}", bundle.digest);
    match replaced {
        Replaced::Nothing => {}
        Replaced::Same => eprintln!("it was installed already"),
        Replaced::Older(version) => eprintln!("it replaces {version}, which stays for a way back"),
        Replaced::Newer(version) => eprintln!("this is a step BACK from {version}, which stays"),
    }
    eprintln!("a gateway that runs takes it over at its next reload");
    Ok(())
}

pub(super) fn uninstall(
    name: &str,
    version: Option<&str>,
    data_dir: Option<&Path>,
) -> anyhow::Result<()> {
    let (_, paths) = super::load(None, data_dir)?;
    let version = version.map(|text| {
        text.parse::<Version>()
            .map_err(|_| anyhow!("{text:?} is no version; one is written such as 1.2.3"))
    });
    let removed =
        Installed::below(&paths.data_dir).uninstall(name, version.transpose()?.as_ref())?;
    for version in removed {
        println!("removed {name} {version}");
    }
    Ok(())
}

pub(super) fn push(file: &Path, reference: &str, config: Option<&Path>) -> anyhow::Result<()> {
    let (loaded, _) = super::load(config, None)?;
    let registries = registries(&loaded)?;
    let reference: Reference = reference.parse()?;
    let artefact = match is_bundle(file)? {
        true => Artefact::bundle(&Bundle::read(file).with_context(|| file.display().to_string())?),
        false => {
            let (bytes, signatures) = component(file)?;
            let facts = witgate_toolkit::component_facts(file, &bytes)?;
            Artefact::component(bytes, &facts, &signatures)
        }
    };
    let digest = block_on(registries.push(&reference, &artefact))??;
    println!("{}", reference.pinned(digest));
    Ok(())
}

pub(super) fn pull(reference: &str, out: Option<PathBuf>, args: &TrustArgs) -> anyhow::Result<()> {
    let (loaded, paths, trust) = trusted(args, None)?;
    let registries = registries(&loaded)?;
    let (reference, fetched) = fetch(reference, &registries, &paths)?;
    let (bytes, signatures, name) = match fetched.content {
        Content::Bundle => {
            let bundle = Bundle::read(&fetched.path).with_context(|| reference.to_string())?;
            let name = file_name(&bundle.index);
            (bundle.bytes().to_vec(), bundle.signatures, name)
        }
        Content::Component => {
            let bytes = read(&fetched.path, COMPONENT_MAX)?;
            let digest = Digest::of(&bytes);
            if digest != fetched.layer {
                bail!("what is kept of {reference} was altered; pull it again");
            }
            let text = fetched.signatures.as_deref().map(str::as_bytes);
            let signatures = text.map(|text| Signatures::read(text, Subject::Component, &digest));
            // Other tools' components have no manifest of ours; they can be fetched all the same.
            let facts = witgate_toolkit::component_facts(&fetched.path, &bytes);
            let name = facts.map_or_else(|_| "component".to_owned(), |facts| facts.name);
            (
                bytes,
                signatures.transpose()?.unwrap_or_default(),
                PathBuf::from(format!("{name}.wasm")),
            )
        }
    };
    let signers = signatures.signers();
    if !trust.is_empty() && trust.signer(&signers).is_none() {
        bail!("{reference} is refused: {}", trust.refusal(&signers));
    }
    let out = out.unwrap_or(name);
    let written = |path: &Path, bytes: &[u8]| {
        write_atomically(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    written(&out, &bytes)?;
    if fetched.content == Content::Component && !signatures.is_empty() {
        written(&signature_file(&out), signatures.to_json().as_bytes())?;
    }
    println!("{}  {}", out.display(), reference.pinned(fetched.manifest));
    match trust.signer(&signers) {
        Some(name) => eprintln!("signed by {name}"),
        None => eprintln!("nobody who is trusted signed it; give --key or --config to insist"),
    }
    Ok(())
}

/// What the configuration pins of the components that it takes from installed bundles.
fn check_pins(loaded: &Loaded, bundle: &Bundle) -> anyhow::Result<()> {
    for (name, entry) in &loaded.config.plugins {
        let Some(component) = bundle
            .index
            .component(name)
            .filter(|_| entry.source.is_none())
        else {
            continue;
        };
        if let Some(pinned) = &entry.version {
            let accepted: VersionReq = pinned
                .parse()
                .map_err(|error| anyhow!("plugins.{name}.version: {pinned:?}: {error}"))?;
            let version: Version = component.version.parse().map_err(|_| {
                anyhow!("{name} has the version {:?}, which cannot be compared with the pinned {pinned}", component.version)
            })?;
            if !accepted.matches(&version) {
                bail!(
                    "{} is refused: it holds {name} {version}, but plugins.{name}.version pins {pinned}",
                    bundle.index.title()
                );
            }
        }
        if let Some(pinned) = &entry.digest {
            let wanted: Digest = pinned
                .parse()
                .map_err(|error| anyhow!("plugins.{name}.digest: {error}"))?;
            if wanted != component.component.digest && wanted != bundle.digest {
                bail!(
                    "{} is refused: it holds {name} with the digest {}, but plugins.{name}.digest pins {wanted}",
                    bundle.index.title(),
                    component.component.digest
                );
            }
        }
    }
    Ok(())
}

/// The configuration, where things lie, and whose signatures count.
fn trusted(args: &TrustArgs, data_dir: Option<&Path>) -> anyhow::Result<(Loaded, Paths, Trust)> {
    let (loaded, paths) = super::load(args.config.as_deref(), data_dir)?;
    let mut keys = Vec::new();
    for path in &args.key {
        let text = read(path, SMALL_MAX)?;
        let key = PublicKey::from_file(&String::from_utf8_lossy(&text))
            .with_context(|| path.display().to_string())?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        keys.push(TrustedKey { name, key });
    }
    if keys.is_empty() {
        let configured = wiring::trust(&loaded.config, paths.config_dir.as_deref());
        return Ok((loaded, paths, configured.map_err(|error| anyhow!(error))?));
    }
    Ok((loaded, paths, Trust::new(keys)))
}

fn registries(loaded: &Loaded) -> anyhow::Result<Registries> {
    wiring::registries(&loaded.config, &loaded.environment).map_err(|error| anyhow!(error))
}

fn fetch(
    text: &str,
    registries: &Registries,
    paths: &Paths,
) -> anyhow::Result<(Reference, Fetched)> {
    let reference: Reference = text.parse()?;
    let pulled = Pulled::below(&paths.data_dir);
    let fetched = block_on(pulled.fetch(registries, &reference))??;
    if let Some(note) = &fetched.note {
        eprintln!("{note}");
    }
    Ok((reference, fetched))
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    Ok(runtime.block_on(work))
}

/// A component and its signatures, if it has some.
fn component(file: &Path) -> anyhow::Result<(Vec<u8>, Signatures)> {
    let bytes = read(file, COMPONENT_MAX)?;
    let beside = signature_file(file);
    if !beside.exists() {
        return Ok((bytes, Signatures::default()));
    }
    let text = read(&beside, SMALL_MAX)?;
    let signatures = Signatures::read(&text, Subject::Component, &Digest::of(&bytes))
        .with_context(|| beside.display().to_string())?;
    Ok((bytes, signatures))
}

fn signature_file(component: &Path) -> PathBuf {
    let mut path: OsString = component.as_os_str().to_owned();
    path.push(format!(".{SIGNATURE_FILE}"));
    PathBuf::from(path)
}

fn is_bundle(file: &Path) -> anyhow::Result<bool> {
    let mut magic = Vec::new();
    File::open(file)
        .and_then(|file| file.take(4).read_to_end(&mut magic))
        .with_context(|| file.display().to_string())?;
    Ok(Bundle::is_one(&magic))
}

fn key_pair(path: &Path) -> anyhow::Result<KeyPair> {
    let text = zeroize::Zeroizing::new(read(path, SMALL_MAX)?);
    KeyPair::from_pem(&String::from_utf8_lossy(&text)).with_context(|| path.display().to_string())
}

fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    read_bounded(path, max.min(BUNDLE_MAX)).with_context(|| path.display().to_string())
}

fn file_name(index: &Index) -> PathBuf {
    PathBuf::from(format!("{}-{}.bundle", index.name, index.version))
}

/// What a bundle holds, a line per component.
fn contents(index: &Index) -> String {
    let mut text = format!("{}\n", index.title());
    for one in &index.components {
        let license = if one.license.is_empty() {
            "no licence stated"
        } else {
            &one.license
        };
        let sbom = if one.sbom.is_some() {
            "sbom"
        } else {
            "no sbom"
        };
        text.push_str(&format!(
            "  {} {}  {}  {license}  {sbom}  {}\n",
            one.name, one.version, one.kind, one.component.digest
        ));
    }
    text
}

fn create_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}
