// SPDX-License-Identifier: Apache-2.0

// What Prometheus 3 makes of a scrape: reads lines of JSON ({"file","type"} or {"name","unit","kind","strategy"}) and writes one
// for each. Of a file: everything its parser finds, and by expfmt the families that a client library finds; of a name: what
// its translator makes of it, and under each escaping scheme.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

type question struct{ File, Type, Name, Unit, Kind, Strategy string }

type series struct {
	Labels    map[string]string
	Value     string
	Count     uint64              `json:",omitempty"` // of a native histogram
	Buckets   map[string]uint64   `json:",omitempty"` // by upper bound
	Exemplars []map[string]string `json:",omitempty"`
	Start     int64               `json:",omitempty"` // ms
}

type answer struct {
	Error    string `json:",omitempty"`
	Series   []series
	Types    map[string]string
	Units    map[string]string
	Families int
	Names    map[string]string
}

func exemplarsOf(p textparse.Parser) (found []map[string]string) {
	var e exemplar.Exemplar
	for p.Exemplar(&e) {
		one := e.Labels.Map()
		one["value"], one["ts"] = fmt.Sprint(e.Value), fmt.Sprint(e.HasTs)
		found = append(found, one)
		e = exemplar.Exemplar{}
	}
	return found
}

func parse(body []byte, kind string, into *answer) error {
	p, err := textparse.New(body, kind, labels.NewSymbolTable(), textparse.ParserOptions{OpenMetricsSkipSTSeries: true,
		KeepClassicOnClassicAndNativeHistograms: true})
	if err != nil {
		return err
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		one := series{}
		switch entry {
		case textparse.EntryType:
			name, metric := p.Type()
			into.Types[string(name)] = string(metric)
			continue
		case textparse.EntryUnit:
			name, unit := p.Unit()
			into.Units[string(name)] = string(unit)
			continue
		case textparse.EntrySeries:
			_, _, value := p.Series()
			one.Value = fmt.Sprint(value)
		case textparse.EntryHistogram:
			_, _, h, _ := p.Histogram()
			if err := h.Validate(); err != nil {
				return err
			}
			one.Value, one.Count, one.Buckets = fmt.Sprint(h.Sum), h.Count, map[string]uint64{}
			for it := h.PositiveBucketIterator(); it.Next(); {
				if bucket := it.At(); bucket.Count > 0 {
					one.Buckets[fmt.Sprint(math.Log2(bucket.Upper))] = bucket.Count
				}
			}
		default:
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		one.Labels, one.Start, one.Exemplars = l.Map(), p.StartTimestamp(), exemplarsOf(p)
		into.Series = append(into.Series, one)
	}
}

func families(body []byte, kind string) (int, error) {
	if strings.HasPrefix(kind, expfmt.OpenMetricsType) {
		return -1, nil // it knows no info there
	}
	decoder, n := expfmt.NewDecoder(bytes.NewReader(body), expfmt.Format(kind)), 0
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		n++
	}
}

func named(q question) (map[string]string, error) {
	kinds := map[string]otlptranslator.MetricType{"counter": otlptranslator.MetricTypeMonotonicCounter,
		"gauge": otlptranslator.MetricTypeGauge, "histogram": otlptranslator.MetricTypeHistogram}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.TranslationStrategyOption(q.Strategy))
	name, err := namer.Build(otlptranslator.Metric{Name: q.Name, Unit: q.Unit, Type: kinds[q.Kind]})
	if err != nil {
		return nil, err
	}
	return map[string]string{"allow-utf-8": name, "underscores": model.EscapeName(name, model.UnderscoreEscaping),
		"dots": escape(name, model.DotsEscaping), "values": model.EscapeName(name, model.ValueEncodingEscaping)}, nil
}

// Families with plain names are left alone (model.EscapeMetricFamily).
func escape(name string, scheme model.EscapingScheme) string {
	if model.LegacyValidation.IsValidMetricName(name) {
		return name
	}
	return model.EscapeName(name, scheme)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var q question
		a := answer{Types: map[string]string{}, Units: map[string]string{}}
		err := json.Unmarshal(in.Bytes(), &q)
		if err == nil && q.File != "" {
			var body []byte
			if body, err = os.ReadFile(q.File); err == nil {
				err = parse(body, q.Type, &a)
			}
			if err == nil {
				a.Families, err = families(body, q.Type)
			}
		} else if err == nil {
			a.Names, err = named(q)
		}
		if err != nil {
			a.Error = err.Error()
		}
		line, _ := json.Marshal(a)
		fmt.Println(string(line))
	}
}
