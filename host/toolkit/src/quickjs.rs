//! A repair of components that the QuickJS builder made.
//!
//! Its runtime gives back a handle that a function borrowed when the function's results were read, in `post-return`. The
//! component model forbids calls there, so every function with a borrowed handle would end in a trap. Here each such
//! function gets a wrapper per handle that gives it back as soon as the function returns, and what the runtime calls later
//! does nothing. Only the small module that the builder generates for the interface is changed.

use wit_component::DecodedWasm;
use wit_parser::abi::AbiVariant;
use wit_parser::{Function, Handle, Resolve, SizeAlign, Type, TypeDefKind, TypeOwner, WorldItem};

/// An exported function that borrows a handle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Borrowing {
    /// Name of the core function.
    export: String,
    /// Module and name of the core import that gives the handle back.
    drop: (String, String),
    place: Place,
}

/// Where a core function finds the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is this parameter.
    Parameter(u32),
    /// It lies this far behind the address in the only parameter.
    Behind(u32),
}

/// The component with wrappers; as it is when no function borrows.
///
/// # Errors
/// When the component is not built as expected: another version of the builder, most likely.
pub(crate) fn give_back_early(component: Vec<u8>) -> Result<Vec<u8>, String> {
    let borrowing = borrowing(&component)?;
    if borrowing.is_empty() {
        return Ok(component);
    }
    let mut patched = 0;
    let repaired = rewrite(&component, &borrowing, &mut patched)
        .ok_or("the builder's component cannot be read")?;
    match patched {
        1 => Ok(repaired),
        _ => Err(format!(
            "{patched} modules of the component have the plugin's functions, not one: this version of the builder is not known"
        )),
    }
}

/// The exported functions that borrow handles of imported resources.
fn borrowing(component: &[u8]) -> Result<Vec<Borrowing>, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Ok(Vec::new());
    };
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    let mut found = Vec::new();
    let Some(world) = resolve.worlds.get(world) else {
        return Ok(found);
    };
    for (key, item) in &world.exports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = resolve
            .id_of(*id)
            .unwrap_or_else(|| resolve.name_world_key(key));
        let functions = resolve.interfaces.get(*id).map(|one| &one.functions);
        for function in functions.into_iter().flat_map(|all| all.values()) {
            // A function that borrows several is wrapped as often.
            for (at, param) in function.params.iter().enumerate() {
                if let Some(drop) = imported_resource(&resolve, &param.ty, &interface) {
                    found.push(Borrowing {
                        export: format!("{interface}#{}", function.name),
                        drop,
                        place: place(&resolve, &sizes, function, at),
                    });
                }
            }
        }
    }
    Ok(found)
}

/// The import that drops the resource, when the type borrows one that is not the exported interface's own.
fn imported_resource(resolve: &Resolve, ty: &Type, exported: &str) -> Option<(String, String)> {
    let Type::Id(id) = ty else { return None };
    let TypeDefKind::Handle(Handle::Borrow(resource)) = &resolve.types.get(*id)?.kind else {
        return None;
    };
    let mut resource = resolve.types.get(*resource)?;
    while let TypeDefKind::Type(Type::Id(alias)) = &resource.kind {
        resource = resolve.types.get(*alias)?;
    }
    let TypeOwner::Interface(owner) = resource.owner else {
        return None;
    };
    let owner = resolve.id_of(owner)?;
    let name = resource.name.as_deref()?;
    (owner != exported).then(|| (owner, format!("[resource-drop]{name}")))
}

fn place(resolve: &Resolve, sizes: &SizeAlign, function: &Function, at: usize) -> Place {
    let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
    if signature.indirect_params {
        let offsets = sizes.field_offsets(function.params.iter().map(|param| &param.ty));
        let offset = offsets
            .get(at)
            .map_or(0, |(offset, _)| offset.size_wasm32());
        return Place::Behind(u32::try_from(offset).unwrap_or_default());
    }
    let mut before = function.clone();
    before.params.truncate(at);
    let count = resolve
        .wasm_signature(AbiVariant::GuestExport, &before)
        .params
        .len();
    Place::Parameter(u32::try_from(count).unwrap_or_default())
}

// Sections of the binary form.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const EXPORTS: u8 = 7;
const ELEMENTS: u8 = 9;
const CODE: u8 = 10;
/// In a component: a module, a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// The component with its modules rewritten, at any depth.
fn rewrite(component: &[u8], borrowing: &[Borrowing], patched: &mut usize) -> Option<Vec<u8>> {
    let mut out = component.get(..8)?.to_vec();
    for (id, content) in sections(component)? {
        match id {
            CORE_MODULE => match patch(content, borrowing) {
                Some(module) => {
                    *patched += 1;
                    put_section(&mut out, id, &module);
                }
                None => put_section(&mut out, id, content),
            },
            COMPONENT => put_section(&mut out, id, &rewrite(content, borrowing, patched)?),
            _ => put_section(&mut out, id, content),
        }
    }
    Some(out)
}

/// The module with a wrapper for each borrowing function; `None` when it does not have all of them.
fn patch(module: &[u8], borrowing: &[Borrowing]) -> Option<Vec<u8>> {
    let all = sections(module)?;
    let section = |wanted: u8| {
        let found = all.iter().find(|(id, _)| *id == wanted);
        found.map(|(_, content)| *content)
    };
    let imports = function_imports(section(IMPORTS)?)?;
    let own = list(section(FUNCTIONS)?, Reader::number)?;
    let exports = list(section(EXPORTS)?, Reader::export)?;
    let first_new = u32::try_from(imports.len() + own.len()).ok()?;
    let mut functions = own.clone();
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let mut redirected = exports.clone();
    // Element by element: the function that gave a handle back, and what takes its place.
    let mut silenced: Vec<(u32, u32)> = Vec::new();
    for one in borrowing {
        let drop = imports
            .iter()
            .position(|import| (&import.module, &import.name) == (&one.drop.0, &one.drop.1))?;
        let drop = u32::try_from(drop).ok()?;
        let export = redirected
            .iter_mut()
            .find(|export| export.name == one.export && export.kind == 0)?;
        let inner = export.index;
        let inner_type =
            *functions.get(usize::try_from(inner).ok()?.checked_sub(imports.len())?)?;
        let parameters = parameters(section(TYPES)?, inner_type)?;
        let next = |functions: &Vec<u32>| {
            u32::try_from(functions.len() - own.len())
                .ok()
                .map(|added| first_new + added)
        };
        if !silenced.iter().any(|(from, _)| *from == drop) {
            silenced.push((drop, next(&functions)?));
            functions.push(imports.get(usize::try_from(drop).ok()?)?.ty);
            bodies.push(vec![0, 0x0b]);
        }
        export.index = next(&functions)?;
        functions.push(inner_type);
        bodies.push(wrapper(one.place, parameters, inner, drop));
    }
    let mut out = module.get(..8)?.to_vec();
    for (id, content) in all {
        match id {
            FUNCTIONS => put_section(&mut out, id, &put_list(&functions, |out, ty| put(out, *ty))),
            EXPORTS => put_section(&mut out, id, &put_list(&redirected, Export::put)),
            ELEMENTS => put_section(&mut out, id, &replace_elements(content, &silenced)?),
            CODE => {
                let mut code = list(content, |reader| {
                    let length = reader.number()?;
                    reader.take(length).map(<[u8]>::to_vec)
                })?;
                code.extend(bodies.iter().cloned());
                let put_body = |out: &mut Vec<u8>, body: &Vec<u8>| {
                    put(out, u32::try_from(body.len()).unwrap_or_default());
                    out.extend_from_slice(body);
                };
                put_section(&mut out, id, &put_list(&code, put_body));
            }
            _ => put_section(&mut out, id, content),
        }
    }
    Some(out)
}

/// Calls the function with its own parameters, then gives the handle back; what the function returned stays on the stack.
fn wrapper(place: Place, parameters: u32, inner: u32, drop: u32) -> Vec<u8> {
    // One local of type i32: the handle, read before the function frees its parameters.
    let mut body = vec![1, 1, 0x7f];
    match place {
        Place::Parameter(at) => {
            body.push(0x20);
            put(&mut body, at);
        }
        Place::Behind(offset) => {
            body.extend([0x20, 0, 0x28, 2]);
            put(&mut body, offset);
        }
    }
    body.push(0x21);
    put(&mut body, parameters);
    for at in 0..parameters {
        body.push(0x20);
        put(&mut body, at);
    }
    body.push(0x10);
    put(&mut body, inner);
    body.push(0x20);
    put(&mut body, parameters);
    body.push(0x10);
    put(&mut body, drop);
    body.push(0x0b);
    body
}

/// Number of parameters of a function type.
fn parameters(types: &[u8], wanted: u32) -> Option<u32> {
    let counts = list(types, |reader| {
        // Nothing but function types is in the builder's module.
        (reader.byte()? == 0x60).then_some(())?;
        let parameters = reader.number()?;
        reader.take(parameters)?;
        let results = reader.number()?;
        reader.take(results)?;
        Some(parameters)
    })?;
    counts.get(usize::try_from(wanted).ok()?).copied()
}

/// The elements of tables, with other functions in place of some.
fn replace_elements(content: &[u8], replace: &[(u32, u32)]) -> Option<Vec<u8>> {
    let segments = list(content, |reader| {
        let start = reader.at;
        let flags = reader.number()?;
        if flags == 2 {
            reader.number()?;
        }
        // The place in the table: one global or constant.
        matches!(flags, 0 | 2).then_some(())?;
        matches!(reader.byte()?, 0x23 | 0x41).then_some(())?;
        reader.number()?;
        (reader.byte()? == 0x0b).then_some(())?;
        if flags == 2 {
            reader.byte()?;
        }
        let head = reader.bytes.get(start..reader.at)?.to_vec();
        let count = reader.number()?;
        let functions = (0..count)
            .map(|_| reader.number())
            .collect::<Option<Vec<_>>>()?;
        Some((head, functions))
    })?;
    Some(put_list(&segments, |out, (head, functions)| {
        out.extend_from_slice(head);
        let functions: Vec<u32> = functions
            .iter()
            .map(|function| {
                let other = replace.iter().find(|(from, _)| from == function);
                other.map_or(*function, |(_, to)| *to)
            })
            .collect();
        out.extend(put_list(&functions, |out, function| put(out, *function)));
    }))
}

struct Import {
    module: String,
    name: String,
    ty: u32,
}

/// The functions among the imports, in the order of their indexes.
fn function_imports(content: &[u8]) -> Option<Vec<Import>> {
    let all = list(content, |reader| {
        let (module, name) = (reader.name()?, reader.name()?);
        match reader.byte()? {
            0 => {
                let ty = reader.number()?;
                return Some(Some(Import { module, name, ty }));
            }
            1 => {
                reader.byte()?;
                reader.limits()?;
            }
            2 => reader.limits()?,
            3 => {
                reader.take(2)?;
            }
            4 => {
                reader.byte()?;
                reader.number()?;
            }
            _ => return None,
        }
        Some(None)
    })?;
    Some(all.into_iter().flatten().collect())
}

#[derive(Clone)]
struct Export {
    name: String,
    kind: u8,
    index: u32,
}

impl Export {
    fn put(out: &mut Vec<u8>, export: &Self) {
        put(out, u32::try_from(export.name.len()).unwrap_or_default());
        out.extend_from_slice(export.name.as_bytes());
        out.push(export.kind);
        put(out, export.index);
    }
}

/// Reads the binary form; `None` at its end and at what it does not know.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, count: u32) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(count).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// A LEB128 number of at most 32 bits.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn name(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }

    fn limits(&mut self) -> Option<()> {
        let flags = self.byte()?;
        self.number()?;
        if flags & 1 == 1 {
            self.number()?;
        }
        Some(())
    }

    fn export(&mut self) -> Option<Export> {
        Some(Export {
            name: self.name()?,
            kind: self.byte()?,
            index: self.number()?,
        })
    }
}

/// The sections behind the header: number and content.
fn sections(binary: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut reader = Reader {
        bytes: binary,
        at: 8,
    };
    let mut found = Vec::new();
    while reader.at < binary.len() {
        let id = reader.byte()?;
        let length = reader.number()?;
        found.push((id, reader.take(length)?));
    }
    Some(found)
}

/// The items of a section that is a list.
fn list<'a, T>(
    content: &'a [u8],
    mut item: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut reader = Reader {
        bytes: content,
        at: 0,
    };
    let count = reader.number()?;
    (0..count).map(|_| item(&mut reader)).collect()
}

fn put_list<T>(items: &[T], put_item: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, u32::try_from(items.len()).unwrap_or_default());
    items.iter().for_each(|item| put_item(&mut out, item));
    out
}

fn put_section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    put(out, u32::try_from(content.len()).unwrap_or_default());
    out.extend_from_slice(content);
}

/// LEB128.
fn put(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for number in [0, 1, 127, 128, 300, 65_535, u32::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(
                Reader {
                    bytes: &bytes,
                    at: 0
                }
                .number(),
                Some(number)
            );
        }
        assert_eq!(
            Reader {
                bytes: &[0x80; 6],
                at: 0
            }
            .number(),
            None
        );
    }

    /// `(module (type (func (param i32))) (import "r" "[resource-drop]x" (func (type 0))) (table 1 funcref)
    /// (func (type 0)) (export "k#f" (func 1)) (elem (i32.const 0) func 0) (code))`
    fn module() -> Vec<u8> {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        put_section(&mut module, TYPES, &[1, 0x60, 1, 0x7f, 0]);
        let mut imports = vec![1, 1, b'r', 16];
        imports.extend(b"[resource-drop]x");
        imports.extend([0, 0]);
        put_section(&mut module, IMPORTS, &imports);
        put_section(&mut module, FUNCTIONS, &[1, 0]);
        put_section(&mut module, 4, &[1, 0x70, 0, 1]);
        put_section(&mut module, EXPORTS, &[1, 3, b'k', b'#', b'f', 0, 1]);
        put_section(&mut module, ELEMENTS, &[1, 0, 0x41, 0, 0x0b, 1, 0]);
        put_section(&mut module, CODE, &[1, 2, 0, 0x0b]);
        module
    }

    #[test]
    fn a_borrowing_function_is_wrapped_and_the_later_drop_silenced() {
        let borrowing = [Borrowing {
            export: "k#f".to_owned(),
            drop: ("r".to_owned(), "[resource-drop]x".to_owned()),
            place: Place::Parameter(0),
        }];
        let patched = patch(&module(), &borrowing).expect("patched");
        let all = sections(&patched).expect("sections");
        let content = |wanted: u8| {
            all.iter()
                .find(|(id, _)| *id == wanted)
                .map(|(_, content)| *content)
        };
        // The import is 0, the function 1, the silent one 2, the wrapper 3.
        assert_eq!(content(FUNCTIONS), Some(&[3, 0, 0, 0][..]));
        assert_eq!(content(EXPORTS), Some(&[1, 3, b'k', b'#', b'f', 0, 3][..]));
        assert_eq!(content(ELEMENTS), Some(&[1, 0, 0x41, 0, 0x0b, 1, 2][..]));
        let wrapper = [
            1, 1, 0x7f, 0x20, 0, 0x21, 1, 0x20, 0, 0x10, 1, 0x20, 1, 0x10, 0, 0x0b,
        ];
        let code = content(CODE).expect("code");
        assert!(code.ends_with(&wrapper), "{code:x?}");
    }

    #[test]
    fn a_module_without_the_function_stays_as_it_is() {
        let borrowing = [Borrowing {
            export: "k#other".to_owned(),
            drop: ("r".to_owned(), "[resource-drop]x".to_owned()),
            place: Place::Parameter(0),
        }];
        assert_eq!(patch(&module(), &borrowing), None);
    }
}
