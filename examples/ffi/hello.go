// SPDX-License-Identifier: Apache-2.0

// libsonde from Go by cgo, which reads the C headers itself.
//
//	CGO_CFLAGS=-I.../include CGO_LDFLAGS="-L... -lsonde" go run hello.go
//
// A span belongs to the thread that made it current: a goroutine that uses current spans locks its thread.
// A span with attributes and a child, whose context is injected into headers; prints the headers.
package main

/*
#include <sonde/carrier/http.h>
#include <sonde/ffi.h>
#include <sonde/sonde.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// A key and its text in C memory, made once and kept for good.
func key(text string) C.struct_sonde_key {
	return C.sonde_ffi_key(C.CString(text), C.size_t(len(text)))
}

var (
	keyGreeting = key("greeting")
	keyCount    = key("count")
	keyRatio    = key("ratio")
	keyPolite   = key("polite")
	nameHello   = key("hello")
	nameSend    = key("send")
)

func main() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var outer, inner C.struct_sonde_span
	C.sonde_span_start(&outer, nameHello, nil)
	value := C.CString("Grüße")
	defer C.free(unsafe.Pointer(value))
	C.sonde_span_set_cstr(&outer, keyGreeting, value)
	C.sonde_span_set_int64(&outer, keyCount, -7)
	C.sonde_span_set_double(&outer, keyRatio, 0.5)
	C.sonde_span_set_bool(&outer, keyPolite, true)
	C.sonde_span_start(&inner, nameSend, nil)

	const room, capacity = 16384, 4
	headers := (*C.struct_sonde_http_headers)(C.calloc(1, C.sizeof_struct_sonde_http_headers))
	headers.text = (*C.char)(C.malloc(room))
	headers.text_size = room
	headers.headers = (*C.struct_sonde_http_header)(C.calloc(capacity, C.sizeof_struct_sonde_http_header))
	headers.capacity = capacity
	carrier := C.sonde_http_carrier(headers)
	C.sonde_inject(nil, &carrier) // nil: the current context
	for _, header := range unsafe.Slice(headers.headers, headers.count) {
		fmt.Printf("%s: %s\n", C.GoStringN(header.name.data, C.int(header.name.size)),
			C.GoStringN(header.value.data, C.int(header.value.size)))
	}
	C.free(unsafe.Pointer(headers.text))
	C.free(unsafe.Pointer(headers.headers))
	C.free(unsafe.Pointer(headers))

	C.sonde_span_end(&inner)
	C.sonde_span_end(&outer)
	C.sonde_shutdown(5000)
}
