;; The inner loop of the engine, in WebAssembly text: a small matrix product, four pixels times
;; eight channels.
;;
;; `assemble.py` makes engine.wasm from this file, and engine-fused.wasm, in which each
;; multiplication and the addition that follows are one instruction, for browsers that have it.
;; A test compares them with this text.
;;
;; A vector holds four floats. $sum_2b is of pixel 2 and of the second half (b) of the eight
;; channels. The loops over four numbers and four pixels are written out, as a call or an index
;; costs more here than what it would save.
(module
  (import "engine" "memory" (memory 1))
  ;; All places and steps are in bytes.
  (func (export "kernel")
    (param $weights i32)      ;; where the weights lie, eight for each number of the window
    (param $bias i32)         ;; eight floats, with which the sums begin
    (param $pixel_0 i32)      ;; the window of the first pixel
    (param $pixel_step i32)   ;; from one pixel's window to the next one's
    (param $rows i32)         ;; of the window
    (param $skip i32)         ;; bytes from the end of a row of the window to the next one
    (param $run i32)          ;; bytes of a row of the window, a multiple of 16
    (param $out i32)          ;; where eight channels of the first output pixel go
    (param $out_step i32)     ;; from one output pixel to the next
    (param $floor f32)        ;; the least output: 0 for a rectifier, -infinity for none
    (local $left i32)         ;; bytes of the row that are still to come
    (local $pixel_1 i32) (local $pixel_2 i32) (local $pixel_3 i32)
    (local $sum_0a v128) (local $sum_0b v128) (local $sum_1a v128) (local $sum_1b v128)
    (local $sum_2a v128) (local $sum_2b v128) (local $sum_3a v128) (local $sum_3b v128)
    (local $weights_a v128) (local $weights_b v128)
    (local $number v128)      ;; one number of the image, four times

    ;; Where each pixel's window begins, and its sums
    (local.set $sum_0a (v128.load (local.get $bias)))
    (local.set $sum_0b (v128.load offset=16 (local.get $bias)))
    (local.set $pixel_1 (i32.add (local.get $pixel_0) (local.get $pixel_step)))
    (local.set $sum_1a (v128.load (local.get $bias)))
    (local.set $sum_1b (v128.load offset=16 (local.get $bias)))
    (local.set $pixel_2 (i32.add (local.get $pixel_1) (local.get $pixel_step)))
    (local.set $sum_2a (v128.load (local.get $bias)))
    (local.set $sum_2b (v128.load offset=16 (local.get $bias)))
    (local.set $pixel_3 (i32.add (local.get $pixel_2) (local.get $pixel_step)))
    (local.set $sum_3a (v128.load (local.get $bias)))
    (local.set $sum_3b (v128.load offset=16 (local.get $bias)))

    (loop $row
      (local.set $left (local.get $run))
      (loop $four_numbers

        ;; Number 0 of the four: its weights, and for each pixel its product with them
        (local.set $weights_a (v128.load (local.get $weights)))
        (local.set $weights_b (v128.load offset=16 (local.get $weights)))
        (local.set $number (v128.load32_splat (local.get $pixel_0)))
        (local.set $sum_0a (f32x4.add (local.get $sum_0a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_0b (f32x4.add (local.get $sum_0b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat (local.get $pixel_1)))
        (local.set $sum_1a (f32x4.add (local.get $sum_1a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_1b (f32x4.add (local.get $sum_1b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat (local.get $pixel_2)))
        (local.set $sum_2a (f32x4.add (local.get $sum_2a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_2b (f32x4.add (local.get $sum_2b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat (local.get $pixel_3)))
        (local.set $sum_3a (f32x4.add (local.get $sum_3a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_3b (f32x4.add (local.get $sum_3b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))

        ;; Number 1 of the four: its weights, and for each pixel its product with them
        (local.set $weights_a (v128.load offset=32 (local.get $weights)))
        (local.set $weights_b (v128.load offset=48 (local.get $weights)))
        (local.set $number (v128.load32_splat offset=4 (local.get $pixel_0)))
        (local.set $sum_0a (f32x4.add (local.get $sum_0a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_0b (f32x4.add (local.get $sum_0b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=4 (local.get $pixel_1)))
        (local.set $sum_1a (f32x4.add (local.get $sum_1a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_1b (f32x4.add (local.get $sum_1b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=4 (local.get $pixel_2)))
        (local.set $sum_2a (f32x4.add (local.get $sum_2a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_2b (f32x4.add (local.get $sum_2b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=4 (local.get $pixel_3)))
        (local.set $sum_3a (f32x4.add (local.get $sum_3a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_3b (f32x4.add (local.get $sum_3b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))

        ;; Number 2 of the four: its weights, and for each pixel its product with them
        (local.set $weights_a (v128.load offset=64 (local.get $weights)))
        (local.set $weights_b (v128.load offset=80 (local.get $weights)))
        (local.set $number (v128.load32_splat offset=8 (local.get $pixel_0)))
        (local.set $sum_0a (f32x4.add (local.get $sum_0a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_0b (f32x4.add (local.get $sum_0b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=8 (local.get $pixel_1)))
        (local.set $sum_1a (f32x4.add (local.get $sum_1a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_1b (f32x4.add (local.get $sum_1b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=8 (local.get $pixel_2)))
        (local.set $sum_2a (f32x4.add (local.get $sum_2a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_2b (f32x4.add (local.get $sum_2b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=8 (local.get $pixel_3)))
        (local.set $sum_3a (f32x4.add (local.get $sum_3a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_3b (f32x4.add (local.get $sum_3b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))

        ;; Number 3 of the four: its weights, and for each pixel its product with them
        (local.set $weights_a (v128.load offset=96 (local.get $weights)))
        (local.set $weights_b (v128.load offset=112 (local.get $weights)))
        (local.set $number (v128.load32_splat offset=12 (local.get $pixel_0)))
        (local.set $sum_0a (f32x4.add (local.get $sum_0a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_0b (f32x4.add (local.get $sum_0b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=12 (local.get $pixel_1)))
        (local.set $sum_1a (f32x4.add (local.get $sum_1a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_1b (f32x4.add (local.get $sum_1b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=12 (local.get $pixel_2)))
        (local.set $sum_2a (f32x4.add (local.get $sum_2a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_2b (f32x4.add (local.get $sum_2b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))
        (local.set $number (v128.load32_splat offset=12 (local.get $pixel_3)))
        (local.set $sum_3a (f32x4.add (local.get $sum_3a)
          (f32x4.mul (local.get $number) (local.get $weights_a))))
        (local.set $sum_3b (f32x4.add (local.get $sum_3b)
          (f32x4.mul (local.get $number) (local.get $weights_b))))

        ;; On to the next four numbers
        (local.set $weights (i32.add (local.get $weights) (i32.const 128)))
        (local.set $pixel_0 (i32.add (local.get $pixel_0) (i32.const 16)))
        (local.set $pixel_1 (i32.add (local.get $pixel_1) (i32.const 16)))
        (local.set $pixel_2 (i32.add (local.get $pixel_2) (i32.const 16)))
        (local.set $pixel_3 (i32.add (local.get $pixel_3) (i32.const 16)))
        (br_if $four_numbers (local.tee $left (i32.sub (local.get $left) (i32.const 16)))))

      ;; On to the next row of the window
      (local.set $pixel_0 (i32.add (local.get $pixel_0) (local.get $skip)))
      (local.set $pixel_1 (i32.add (local.get $pixel_1) (local.get $skip)))
      (local.set $pixel_2 (i32.add (local.get $pixel_2) (local.get $skip)))
      (local.set $pixel_3 (i32.add (local.get $pixel_3) (local.get $skip)))
      (br_if $row (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))

    ;; The sums, and nothing below $floor
    (v128.store (local.get $out)
      (f32x4.max (local.get $sum_0a) (f32x4.splat (local.get $floor))))
    (v128.store offset=16 (local.get $out)
      (f32x4.max (local.get $sum_0b) (f32x4.splat (local.get $floor))))
    (local.set $out (i32.add (local.get $out) (local.get $out_step)))
    (v128.store (local.get $out)
      (f32x4.max (local.get $sum_1a) (f32x4.splat (local.get $floor))))
    (v128.store offset=16 (local.get $out)
      (f32x4.max (local.get $sum_1b) (f32x4.splat (local.get $floor))))
    (local.set $out (i32.add (local.get $out) (local.get $out_step)))
    (v128.store (local.get $out)
      (f32x4.max (local.get $sum_2a) (f32x4.splat (local.get $floor))))
    (v128.store offset=16 (local.get $out)
      (f32x4.max (local.get $sum_2b) (f32x4.splat (local.get $floor))))
    (local.set $out (i32.add (local.get $out) (local.get $out_step)))
    (v128.store (local.get $out)
      (f32x4.max (local.get $sum_3a) (f32x4.splat (local.get $floor))))
    (v128.store offset=16 (local.get $out)
      (f32x4.max (local.get $sum_3b) (f32x4.splat (local.get $floor))))
    (local.set $out (i32.add (local.get $out) (local.get $out_step)))))
