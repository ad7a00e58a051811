//! Random commands: mostly well formed, often nearly so.

/// One argument list.
pub(super) type Request = Vec<Vec<u8>>;

/// Draws commands of all families.
pub(super) struct Generator {
    rng: fastrand::Rng,
}

/// Keys in few slots, so that commands meet; `{a}` shares a slot.
const KEYS: &[&str] = &["{a}1", "{a}2", "{a}3", "{a}4", "b", "c", "", "k\u{0}\r\n\u{fffd}"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "100",
    "-100",
    "1000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "01",
    "+1",
    " 1",
    "1.5",
    "a",
    "",
    "-0",
    "9223372036854775",
    "9223372036854776",
    "2147483648",
];
const FLOATS: &[&str] = &[
    "0.1",
    "-0.1",
    "+.5",
    "5.",
    ".",
    "1e3",
    "1e",
    "1e+",
    "1E-17",
    "0.000000000000000005",
    "0.000000000000000015",
    "inf",
    "-INFINITY",
    "nan",
    "nan(1)",
    "infinit",
    "1e4932",
    "-1e4932",
    "1e4933",
    "1e-4950",
    "1e-4951",
    "1e-4960",
    "0e99999999999",
    "0x10",
    "0x.8p1",
    "0X1P-3",
    "0x",
    "0xp1",
    "1.5 ",
    " 1.5",
    "1.5\u{0}",
    "18446744073709551615",
    "18446744073709551616.5",
    "36893488147419103233",
    "1_0",
];
const WORDS: &[&str] = &[
    "nx", "XX", "get", "KEEPTTL", "persist", "gt", "LT", "ex", "px", "exat", "PXAT", "count", "match",
    "type", "sync", "foo", "", "*", "string", "help", "filterby", "aclcat", "pattern",
];

impl Generator {
    pub(super) fn new(seed: u64) -> Generator {
        Generator { rng: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.rng.usize(0..bound)
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(0..count) == 0
    }

    fn of(&mut self, words: &[&str]) -> Vec<u8> {
        words[self.below(words.len())].as_bytes().to_vec()
    }

    fn key(&mut self) -> Vec<u8> {
        self.of(KEYS)
    }

    /// Keys of one slot.
    fn near_key(&mut self) -> Vec<u8> {
        self.of(&KEYS[..4])
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.u8(0..6) {
            0 | 1 => self.of(NUMBERS),
            2 => self.rng.i64(-1000..1000).to_string().into_bytes(),
            3 => (0..self.below(300)).map(|_| self.rng.u8(..)).collect(),
            _ => (0..self.below(12)).map(|_| self.rng.alphanumeric() as u8).collect(),
        }
    }

    fn number(&mut self) -> Vec<u8> {
        if self.one_in(2) { self.of(NUMBERS) } else { self.rng.i64(-20..20).to_string().into_bytes() }
    }

    /// A number with a fraction or an exponent, or nearly one.
    fn float(&mut self) -> Vec<u8> {
        match self.rng.u8(0..6) {
            0 => self.of(FLOATS),
            1 => format!("{:e}", f64::from_bits(self.rng.u64(..))).into_bytes(),
            2 => format!("0x{:x}.{:x}p{}", self.rng.u32(..), self.rng.u16(..), self.rng.i16(..)).into_bytes(),
            3 => format!("{}e{}", self.rng.u64(..), self.rng.i32(-5_100..5_100)).into_bytes(),
            4 => format!("{}.{:017}", self.rng.i64(-99..99), self.rng.u64(0..100_000_000_000_000_000))
                .into_bytes(),
            _ => format!("{}.{}", self.rng.i64(..), self.rng.u64(..)).into_bytes(),
        }
    }

    /// A duration so long that it does not end, or one that is over or senseless.
    fn duration(&mut self, millis: bool) -> Vec<u8> {
        let unit = if millis { 1000 } else { 1 };
        match self.rng.u8(0..8) {
            0 => self.of(&[
                "0",
                "-1",
                "-100000",
                "a",
                "",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775",
            ]),
            _ => (self.rng.i64(1000..1_000_000) * unit).to_string().into_bytes(),
        }
    }

    /// A point in time, far from now.
    fn moment(&mut self, millis: bool) -> Vec<u8> {
        let unit = if millis { 1000 } else { 1 };
        match self.rng.u8(0..8) {
            0 => self.of(&["0", "-1", "1", "a", "9223372036854775807", "9223372036854775"]),
            1 => (self.rng.i64(1_000_000..1_600_000_000) * unit).to_string().into_bytes(),
            _ => (self.rng.i64(4_000_000_000..5_000_000_000) * unit).to_string().into_bytes(),
        }
    }

    /// A command that answers the same however time passes between two servers, with a place for the exceptions.
    pub(super) fn command(&mut self) -> Request {
        let mut request = self.well_formed();
        if self.one_in(12) {
            let at = 1 + self.below(request.len());
            match self.rng.u8(0..4) {
                0 => drop(request.remove(at.min(request.len() - 1).max(1.min(request.len() - 1)))),
                1 => request.insert(at, self.of(WORDS)),
                2 => request.insert(at, self.of(NUMBERS)),
                _ => request.push(self.key()),
            }
        }
        if request.is_empty() {
            request.push(b"ping".to_vec());
        }
        if self.one_in(4) {
            request[0].make_ascii_uppercase();
        }
        request
    }

    fn well_formed(&mut self) -> Request {
        let name = |name: &str| name.as_bytes().to_vec();
        match self.rng.u8(0..48) {
            0..=3 => vec![name("set"), self.key(), self.value()],
            4..=6 => self.set_with_options(),
            7..=9 => vec![name("get"), self.key()],
            10 => vec![self.of(&["setnx", "getset"]), self.key(), self.value()],
            11 => vec![name("setex"), self.key(), self.duration(false), self.value()],
            12 => vec![name("psetex"), self.key(), self.duration(true), self.value()],
            13 => vec![name("getdel"), self.key()],
            14 => self.getex(),
            15 | 16 => vec![name("append"), self.key(), self.value()],
            17 => vec![name("strlen"), self.key()],
            18 => vec![self.of(&["getrange", "substr"]), self.key(), self.number(), self.number()],
            19 => {
                let offset = self.of(&["0", "1", "5", "100", "-1", "a", "536870912", "9223372036854775807"]);
                let value = if self.one_in(3) { Vec::new() } else { self.value() };
                vec![name("setrange"), self.key(), offset, value]
            }
            20 | 21 => vec![self.of(&["incr", "decr"]), self.key()],
            22 | 23 => vec![self.of(&["incrby", "decrby"]), self.key(), self.number()],
            24 if self.one_in(2) => {
                let key = self.key();
                let delta = if self.one_in(3) { self.value() } else { self.float() };
                // The number of a key is a float now and then, too.
                match self.below(3) {
                    0 => vec![name("set"), key, self.float()],
                    _ => vec![name("incrbyfloat"), key, delta],
                }
            }
            24 => self.many(&["mget"]),
            25 if self.one_in(2) => self.transfer(),
            25 => self.many(&["del", "unlink", "exists", "touch"]),
            26 => self.pairs(),
            27 => vec![name("type"), self.key()],
            28..=30 => self.expire(),
            31 | 32 => vec![self.of(&["ttl", "pttl", "expiretime", "pexpiretime"]), self.key()],
            33 => vec![name("persist"), self.key()],
            34 if self.one_in(2) => {
                vec![name("keys"), self.of(&["*", "{a}?", "[bc]", "", "b", "\\b", "[^{]*", "x"])]
            }
            34 => vec![name("dbsize")],
            35 if self.one_in(8) => vec![self.of(&["flushall", "flushdb"])],
            36 => vec![name("scan"), self.of(NUMBERS), self.of(WORDS), self.of(WORDS)],
            37 => vec![name("ping")],
            38 => vec![name("echo"), self.value()],
            39 => self.client(),
            40 => self.introspection(),
            41 => vec![name("select"), self.of(&["0", "a", "99999999999", "1.5", ""])],
            44..=46 => self.bits(),
            47 => self.bit_operation(),
            42 => vec![self.of(&["nosuch", "get2", "", "\u{0}x", "g\r\nt"]), self.value(), self.value()],
            _ => vec![
                self.of(&["auth", "hello", "config", "client", "command", "expire"]),
                self.of(WORDS),
                self.of(NUMBERS),
            ],
        }
    }

    fn bits(&mut self) -> Request {
        let (name, key) = (self.of(&["setbit", "getbit", "bitcount", "bitpos"]), self.key());
        let bit = if self.one_in(12) { self.of(NUMBERS) } else { self.of(&["0", "1"]) };
        let offset = match self.rng.u8(0..10) {
            0 => self.of(&["-1", "a", "", "4294967295", "4294967296", "9223372036854775807", "#1"]),
            _ => self.below(2_000).to_string().into_bytes(),
        };
        let mut request = match name.as_slice() {
            b"setbit" if offset.len() > 9 => return vec![b"getbit".to_vec(), key, offset],
            b"setbit" => return vec![name, key, offset, bit],
            b"getbit" => return vec![name, key, offset],
            b"bitcount" => vec![name, key],
            _ => vec![name, key, bit],
        };
        for _ in 0..self.below(3) {
            request.push(self.number());
        }
        if self.one_in(3) {
            request.push(self.of(&["bit", "BYTE"]));
        }
        request
    }

    fn bit_operation(&mut self) -> Request {
        let mut request = vec![b"bitop".to_vec(), self.of(&["and", "OR", "xor", "not", "not", "nand", ""])];
        for _ in 0..2 + self.below(3) {
            request.push(self.near_key());
        }
        request
    }

    fn set_with_options(&mut self) -> Request {
        let mut request = vec![b"set".to_vec(), self.key(), self.value()];
        for _ in 0..1 + self.below(2) {
            match self.rng.u8(0..9) {
                0 => request.extend([b"ex".to_vec(), self.duration(false)]),
                1 => request.extend([b"PX".to_vec(), self.duration(true)]),
                2 => request.extend([b"exat".to_vec(), self.moment(false)]),
                3 => request.extend([b"pxat".to_vec(), self.moment(true)]),
                4 => request.push(b"keepttl".to_vec()),
                5 | 6 => request.push(b"get".to_vec()),
                _ => request.push(self.of(&["nx", "XX"])),
            }
        }
        request
    }

    /// Only with times that make sense: others are refused sooner than the oracle does.
    fn getex(&mut self) -> Request {
        let mut request = vec![b"getex".to_vec(), self.key()];
        match self.rng.u8(0..5) {
            0 => {}
            1 => request.push(b"persist".to_vec()),
            2 => request.extend([b"ex".to_vec(), b"5000".to_vec()]),
            3 => request.extend([b"pxat".to_vec(), b"4000000000000".to_vec()]),
            _ => request.extend([b"EXAT".to_vec(), b"5000".to_vec()]),
        }
        request
    }

    fn expire(&mut self) -> Request {
        let (name, amount) = match self.rng.u8(0..4) {
            0 => ("expire", self.duration(false)),
            1 => ("pexpire", self.duration(true)),
            2 => ("expireat", self.moment(false)),
            _ => ("pexpireat", self.moment(true)),
        };
        let mut request = vec![name.as_bytes().to_vec(), self.key(), amount];
        for _ in 0..self.below(3) {
            request.push(self.of(&["nx", "xx", "GT", "lt"]));
        }
        request
    }

    fn many(&mut self, names: &[&str]) -> Request {
        let mut request = vec![self.of(names)];
        for _ in 0..1 + self.below(5) {
            request.push(self.key());
        }
        request
    }

    fn transfer(&mut self) -> Request {
        let mut request =
            vec![self.of(&["rename", "renamenx", "copy", "COPY"]), self.near_key(), self.near_key()];
        if request[0].eq_ignore_ascii_case(b"copy") {
            for _ in 0..self.below(3) {
                request.push(self.of(&["replace", "REPLACE", "foo"]));
            }
        }
        request
    }

    fn pairs(&mut self) -> Request {
        let mut request = vec![self.of(&["mset", "msetnx"])];
        for _ in 0..1 + self.below(3) {
            request.extend([self.near_key(), self.value()]);
        }
        request
    }

    fn client(&mut self) -> Request {
        match self.rng.u8(0..3) {
            0 => vec![b"client".to_vec(), b"getname".to_vec()],
            1 => vec![b"client".to_vec(), b"setname".to_vec(), self.of(&["me", "a b", "", "x\u{7f}"])],
            _ => vec![b"client".to_vec(), self.of(WORDS)],
        }
    }

    fn introspection(&mut self) -> Request {
        let name = self.of(&[
            "get",
            "SET",
            "mset",
            "client|id",
            "config|get",
            "nosuch",
            "get|x",
            "flushall",
            "getset",
            "ping",
        ]);
        match self.rng.u8(0..4) {
            0 => vec![b"command".to_vec(), b"info".to_vec(), name],
            1 => vec![b"command".to_vec(), b"getkeys".to_vec(), name, self.value(), self.value()],
            2 => vec![b"command".to_vec(), b"getkeysandflags".to_vec(), name, self.value(), self.value()],
            _ => vec![
                b"command".to_vec(),
                b"list".to_vec(),
                b"filterby".to_vec(),
                self.of(WORDS),
                b"nosuch".to_vec(),
            ],
        }
    }
}
