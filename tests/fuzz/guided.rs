//! Draws the inputs of a property from libFuzzer, which is guided by coverage: it changes the bytes that reached new
//! code.
//!
//! In: libFuzzer's arguments and what to do with its bytes. Out: the inputs that reached new code, and the bytes of one
//! that breaks the property, in the folders that the arguments name.

use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{ptr, slice};

// Links libFuzzer, of which nothing else is used by its Rust name.
use libfuzzer_sys as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// The arguments of libFuzzer, one a line. `cargo rig fuzz` sets them.
const ARGUMENTS: &str = "FUZZ_GUIDED";

/// How many bytes the generator gets behind those of libFuzzer. Each alternative in a regular expression takes half of
/// what is left.
const ROOM: usize = 1 << 18;

/// The decision of libFuzzer about an input after a run.
pub enum Input {
    /// It keeps the input if it reached new code.
    Valid,
    /// It forgets the input.
    Rejected,
}

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        callback: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

/// The arguments of this run; none if libFuzzer shall not draw the inputs.
pub fn arguments() -> Option<Vec<String>> {
    Some(std::env::var(ARGUMENTS).ok()?.lines().map(str::to_owned).collect())
}

/// Arguments for inputs that are documents: the seeds, and the tokens as libFuzzer's dictionary.
pub fn with_documents(mut arguments: Vec<String>, seeds: PathBuf, tokens: &[&str]) -> Vec<String> {
    // A run of one input, which is a file, takes no folder beside it.
    if arguments.iter().any(|argument| Path::new(argument).is_file()) {
        return arguments;
    }
    let escaped = |token: &&str| token.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let lines: Vec<String> = tokens.iter().map(|token| format!("\"{}\"\n", escaped(token))).collect();
    let name = seeds.file_name().expect("a folder").to_string_lossy().into_owned();
    let dictionary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("dict");
    fs::write(&dictionary, lines.concat()).unwrap();
    arguments.push(format!("-dict={}", dictionary.display()));
    arguments.push(seeds.display().to_string());
    arguments
}

/// A generator that takes its numbers from the bytes, so that a small change of them is a small change of the value.
pub fn generator(bytes: &[u8]) -> TestRng {
    let room = [bytes, rest(bytes)].concat();
    TestRng::from_seed(RngAlgorithm::PassThrough, &room)
}

/// The bytes that the generator gets behind the end of libFuzzer's: the same for the same bytes, and another for any
/// other, so that the first inputs, which are short, are not all alike.
fn rest(bytes: &[u8]) -> &'static [u8] {
    static NUMBERS: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..2 * ROOM).map(|index| hash(&index.to_le_bytes()).to_le_bytes()[0]).collect());
    let begin = hash(bytes) as usize % ROOM;
    &NUMBERS[begin..begin + ROOM]
}

fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

/// The function that libFuzzer calls; its type is known to `call` alone.
static RUN: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Lets libFuzzer draw inputs. It ends the process after the time that the arguments name, or after an input that makes
/// the process abort.
pub fn draw<F: Fn(&[u8]) -> Input>(arguments: &[String], run: F) {
    let texts: Vec<CString> = std::iter::once("fuzz")
        .chain(arguments.iter().map(String::as_str))
        .map(|argument| CString::new(argument).unwrap())
        .collect();
    let mut pointers: Vec<*mut c_char> = texts.iter().map(|text| text.as_ptr().cast_mut()).collect();
    let mut count = c_int::try_from(pointers.len()).unwrap();
    pointers.push(ptr::null_mut());
    let mut argv = pointers.as_mut_ptr();
    RUN.store(ptr::from_ref(&run).cast_mut().cast(), Ordering::SeqCst);
    // SAFETY: the texts and `run` live until the driver returns, and the list of texts ends with a null pointer. The
    // driver calls `call` with the type of `run`.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut argv, call::<F>) };
    assert_eq!(code, 0, "libFuzzer ended with an error");
}

/// A panic in here aborts the process, on which libFuzzer saves the input.
extern "C" fn call<F: Fn(&[u8]) -> Input>(bytes: *const u8, length: usize) -> c_int {
    // SAFETY: `draw` stored a pointer to an `F`, and waits for the driver that calls this. libFuzzer's bytes are a
    // buffer of that length.
    let (run, bytes) =
        unsafe { (&*RUN.load(Ordering::SeqCst).cast::<F>(), slice::from_raw_parts(bytes, length)) };
    match run(bytes) {
        Input::Valid => 0,
        Input::Rejected => -1,
    }
}
