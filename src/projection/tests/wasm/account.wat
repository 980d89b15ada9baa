;; Balances of accounts, as a module for wasm/v1: it finds what it needs in the JSON of its input.
;;
;; An event of the type Deposited changes the balance, Closed removes the view, and Viewed leaves it. The other types misbehave, each in its own way.
(module
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 4096))
  (global $out (mut i32) (i32.const 0))
  ;; Two places where a module could keep something from one event to the next.
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 2048) "\00\00\00\00")

  (data (i32.const 16) "\"aggregate_id\":\"")
  (data (i32.const 48) "\"event_type\":\"")
  (data (i32.const 80) "\"amount\":")
  (data (i32.const 112) "\"balance\":")
  (data (i32.const 144) "{\"new_view\":{\"balance\":")
  (data (i32.const 176) ",\"calls\":")
  (data (i32.const 192) "}}")
  (data (i32.const 208) "{\"delete\":true}")
  (data (i32.const 240) "{\"skip\":true}")
  (data (i32.const 272) "[\"")
  (data (i32.const 288) "\"]")
  (data (i32.const 304) "so so")

  ;; Where the host may write `len` bytes. Nothing is given back: the instance ends with the call.
  (func $alloc (export "alloc") (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $len)))
    (block $fits
      (br_if $fits
        (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow
        (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1)))))
    (local.get $at))

  ;; The place behind the first `needle` in a text, or 0.
  (func $behind (param $text i32) (param $len i32) (param $needle i32) (param $needle_len i32) (result i32)
    (local $last i32) (local $at i32)
    (local.set $last
      (i32.sub (i32.add (local.get $text) (local.get $len)) (local.get $needle_len)))
    (block $absent
      (loop $next
        (br_if $absent (i32.gt_u (local.get $text) (local.get $last)))
        (local.set $at (i32.const 0))
        (block $other
          (loop $same
            (if (i32.eq (local.get $at) (local.get $needle_len))
              (then (return (i32.add (local.get $text) (local.get $needle_len)))))
            (br_if $other
              (i32.ne
                (i32.load8_u (i32.add (local.get $text) (local.get $at)))
                (i32.load8_u (i32.add (local.get $needle) (local.get $at)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $same)))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  ;; The whole number that begins at a place; 0 where there is none.
  (func $number (param $at i32) (result i64)
    (local $value i64) (local $sign i64) (local $digit i32)
    (local.set $sign (i64.const 1))
    (if (i32.eqz (local.get $at)) (then (return (i64.const 0))))
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 45))
      (then
        (local.set $sign (i64.const -1))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))))
    (block $end
      (loop $next
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $value
          (i64.add
            (i64.mul (local.get $value) (i64.const 10))
            (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i64.mul (local.get $value) (local.get $sign)))

  (func $write (param $from i32) (param $len i32)
    (memory.copy (global.get $out) (local.get $from) (local.get $len))
    (global.set $out (i32.add (global.get $out) (local.get $len))))

  (func $write_number (param $value i64)
    (if (i64.lt_s (local.get $value) (i64.const 0))
      (then
        (i32.store8 (global.get $out) (i32.const 45))
        (global.set $out (i32.add (global.get $out) (i32.const 1)))
        (local.set $value (i64.sub (i64.const 0) (local.get $value)))))
    (if (i64.ge_u (local.get $value) (i64.const 10))
      (then (call $write_number (i64.div_u (local.get $value) (i64.const 10)))))
    (i32.store8 (global.get $out)
      (i32.wrap_i64
        (i64.add (i64.const 48) (i64.rem_u (local.get $value) (i64.const 10)))))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))

  ;; A place and a length as one number.
  (func $packed (param $at i32) (param $len i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
      (i64.extend_i32_u (local.get $len))))

  ;; What was written since the answer began.
  (func $answer (param $start i32) (result i64)
    (call $packed (local.get $start)
      (i32.sub (global.get $out) (local.get $start))))

  (func (export "key") (param $input i32) (param $len i32) (result i64)
    (local $start i32) (local $id i32) (local $end i32)
    (local.set $start (call $alloc (i32.const 1024)))
    (global.set $out (local.get $start))
    (local.set $id
      (call $behind (local.get $input) (local.get $len) (i32.const 16) (i32.const 16)))
    (local.set $end (local.get $id))
    (block $found
      (loop $next
        (br_if $found (i32.eq (i32.load8_u (local.get $end)) (i32.const 34)))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (call $write (i32.const 272) (i32.const 2))
    (call $write (local.get $id) (i32.sub (local.get $end) (local.get $id)))
    (call $write (i32.const 288) (i32.const 2))
    (call $answer (local.get $start)))

  (func (export "project") (param $input i32) (param $len i32) (result i64)
    (local $start i32) (local $kind i32)
    (local.set $start (call $alloc (i32.const 1024)))
    (global.set $out (local.get $start))
    (local.set $kind
      (i32.load8_u
        (call $behind (local.get $input) (local.get $len) (i32.const 48) (i32.const 14))))
    ;; Bomb: it never ends.
    (if (i32.eq (local.get $kind) (i32.const 66)) (then (loop $on (br $on))))
    ;; Trap.
    (if (i32.eq (local.get $kind) (i32.const 84)) (then (unreachable)))
    ;; Garbage: no JSON.
    (if (i32.eq (local.get $kind) (i32.const 71))
      (then (return (call $packed (i32.const 304) (i32.const 5)))))
    ;; Outside: an answer that is not in the memory.
    (if (i32.eq (local.get $kind) (i32.const 79))
      (then (return (call $packed (i32.const 0xffff0000) (i32.const 64)))))
    ;; Huge: 128 MiB of memory.
    (if (i32.eq (local.get $kind) (i32.const 72))
      (then (drop (memory.grow (i32.const 2048)))))
    ;; Closed.
    (if (i32.eq (local.get $kind) (i32.const 67))
      (then (return (call $packed (i32.const 208) (i32.const 15)))))
    ;; Viewed.
    (if (i32.eq (local.get $kind) (i32.const 86))
      (then (return (call $packed (i32.const 240) (i32.const 13)))))

    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
    (call $write (i32.const 144) (i32.const 23))
    (call $write_number
      (i64.add
        (call $number
          (call $behind (local.get $input) (local.get $len) (i32.const 112) (i32.const 10)))
        (call $number
          (call $behind (local.get $input) (local.get $len) (i32.const 80) (i32.const 9)))))
    (call $write (i32.const 176) (i32.const 9))
    (call $write_number
      (i64.extend_i32_u
        (i32.add (global.get $calls) (i32.load (i32.const 2048)))))
    (call $write (i32.const 192) (i32.const 2))
    (call $answer (local.get $start))))
