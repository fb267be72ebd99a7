/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Capture files: pcap and pcapng by our own reader, and by libpcap what that does not know, and
 * pipes. libpcap's packet is only good until the next one, so those of a batch are copied behind
 * each other.
 */

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "probe/capture.h"
#include "probe/capture_pipe.h"
#include "probe/capture_reader.h"

enum { MAX_FRAME_BYTES = 256 * 1024, BATCH_BYTES = 512 * 1024 };

typedef struct PcapFile {
    pcap_t *pcap; /* of our own reader: without input, it compiles filters */
    CaptureReader *own;
    int fd;                     /* its, else -1 */
    CapturePipe *pipe;          /* NULL: a file that is all there */
    struct bpf_program program; /* without instructions: every packet passes */
    const char *input;
    uint32_t snaplen;
    bool truncated;
    int pending; /* an answer to give when the frames before it are out */
    char why[PCAP_ERRBUF_SIZE];
    uint8_t bytes[BATCH_BYTES];
} PcapFile;

static void pcapfile_close(Capture *capture) {
    PcapFile *file = capture->state;
    if (!file)
        return;
    if (file->pcap)
        pcap_close(file->pcap);
    pcap_freecode(&file->program);
    capture_pipe_free(file->pipe);
    capture_reader_free(file->own);
    if (file->fd >= 0)
        (void)close(file->fd);
    free(file);
    capture->state = NULL;
}

static int set_filter(PcapFile *file, const char *filter, Reason *reason) {
    struct bpf_program program = {0};
    if (filter && *filter &&
        pcap_compile(file->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
        reason_set(reason, "the filter '%s' is not valid: %s", filter, pcap_geterr(file->pcap));
        return CAPTURE_E_USAGE;
    }
    pcap_freecode(&file->program);
    file->program = program;
    return 0;
}

static bool is_stdin(const char *input) {
    return strcmp(input, "-") == 0;
}

/* what a capture is often kept as, and libpcap does not read */
static bool is_compressed(const char *path) {
    static const char *const magics[] = {"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd\x37zX", "BZh"};
    char head[5] = "";
    cleanup(fclosep) FILE *file = is_stdin(path) ? NULL : fopen(path, "re");
    if (!file || fread(head, 1, sizeof(head) - 1, file) != sizeof(head) - 1)
        return false;
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if (memcmp(head, magics[i], strlen(magics[i])) == 0)
            return true;
    return false;
}

static pcap_t *open_pipe(PcapFile *file, int fd, char *why) {
    file->pipe = capture_pipe_new(fd);
    FILE *stream = file->pipe ? capture_pipe_file(file->pipe) : NULL;
    if (!stream) {
        (void)snprintf(why, PCAP_ERRBUF_SIZE, "%s", strerror(ENOMEM));
        return NULL;
    }
    pcap_t *pcap =
        pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, why);
    if (!pcap)
        (void)fclose(stream);
    return pcap;
}

static pcap_t *open_input(PcapFile *file, char *why) {
    struct stat st;
    cleanup(closep) int fd =
        is_stdin(file->input) ? dup(STDIN_FILENO) : open(file->input, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        (void)snprintf(why, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        int taken = fd;
        fd = -1;
        return open_pipe(file, taken, why);
    }
    if (capture_reader_new(&file->own, fd) == 0) {
        file->fd = fd;
        fd = -1;
        return pcap_open_dead(capture_reader_link_type(file->own), MAX_FRAME_BYTES);
    }
    return pcap_open_offline_with_tstamp_precision(file->input, PCAP_TSTAMP_PRECISION_NANO, why);
}

static int pcapfile_open(Capture *capture, const CaptureConfig *config, Reason *reason) {
    char why[PCAP_ERRBUF_SIZE] = "";
    PcapFile *file = calloc(1, sizeof(*file));
    if (!file)
        return error_origin(-ENOMEM);
    capture->state = file; /* closed by whoever closes the capture */
    file->input = config->input;
    file->fd = -1;
    file->snaplen = config->snaplen ? config->snaplen : MAX_FRAME_BYTES;
    file->pcap = open_input(file, why);
    if (!file->pcap) {
        /* libpcap begins some of its messages with the file's name */
        size_t n = strlen(config->input);
        const char *rest = strncmp(why, config->input, n) == 0 ? why + n : why;
        reason_set(reason, "-i %s is not a readable capture file: %s%s", config->input,
                   rest + strspn(rest, ": "),
                   is_compressed(config->input) ? "; it is compressed: unpack it first, or into "
                                                  "weir-probe -i -"
                                                : "");
        return CAPTURE_E_REFUSED;
    }
    int link_type = file->own ? capture_reader_link_type(file->own) : pcap_datalink(file->pcap);
    if (!dissect_link_known(link_type)) {
        const char *name = pcap_datalink_val_to_description(link_type);
        reason_set(reason, "-i %s holds frames of link type %d (%s), which weir-probe cannot read",
                   config->input, link_type, name ? name : "unknown");
        return CAPTURE_E_REFUSED;
    }
    capture->link_type = (uint16_t)link_type;
    return error_trace(set_filter(file, config->filter, reason));
}

static bool is_truncation(const char *why) {
    return strstr(why, "truncated") || strstr(why, "unexpectedly");
}

/* nothing more comes: an end, a file cut short (which is an end too), or a break */
static int note_end(PcapFile *file, int r) {
    if (r == PCAP_ERROR_BREAK)
        return CAPTURE_E_END;
    (void)strncpy(file->why, pcap_geterr(file->pcap), sizeof(file->why) - 1);
    file->truncated = is_truncation(file->why);
    return CAPTURE_E_BROKEN;
}

/* the frame was read; is it one, after filter and snaplen */
static bool passes(const PcapFile *file, Frame *frame) {
    if (file->program.bf_len) {
        const struct pcap_pkthdr header = {.caplen = frame->captured_bytes,
                                           .len = frame->wire_bytes};
        if (!pcap_offline_filter(&file->program, &header, frame->bytes))
            return false;
    }
    if (frame->captured_bytes > file->snaplen)
        frame->captured_bytes = file->snaplen;
    return true;
}

/* of those that were read, the ones that pass */
static size_t keep_passing(const PcapFile *file, Frame *frames, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!passes(file, &frames[i]))
            continue;
        if (kept != i)
            frames[kept] = frames[i];
        kept++;
    }
    return kept;
}

/* of one reading: fewer than asked for, where it ends */
static size_t read_own(PcapFile *file, Frame *frames, size_t max) {
    Reason why = {""};
    size_t n = 0;
    for (size_t looked = 0; looked < max && !file->pending;) {
        int r = 0;
        const size_t more = capture_reader_next(file->own, frames + n, max - looked, &r, &why);
        n += keep_passing(file, frames + n, more);
        looked += more;
        if (r == 0 || (r == CAPTURE_READER_E_EMPTY && n))
            break;
        if (r == CAPTURE_READER_E_EMPTY)
            r = capture_reader_fill(file->own, &why);
        if (r == 0)
            continue;
        file->pending = r == CAPTURE_READER_E_END ? CAPTURE_E_END : CAPTURE_E_BROKEN;
        file->truncated = r == CAPTURE_READER_E_CUT;
        if (r == CAPTURE_READER_E_CUT)
            reason_set(&why, "truncated");
        (void)snprintf(file->why, sizeof(file->why), "%s", why.text);
    }
    return n;
}

static size_t read_libpcap(PcapFile *file, Frame *frames, size_t max, unsigned timeout_ms,
                           uint16_t link_type) {
    size_t used = 0;
    size_t n = 0;
    for (size_t looked = 0; looked < max && used + MAX_FRAME_BYTES <= BATCH_BYTES; looked++) {
        struct pcap_pkthdr *header = NULL;
        const u_char *bytes = NULL;
        if (file->pending ||
            (file->pipe && !capture_pipe_ready(file->pipe, looked ? 0 : timeout_ms)))
            break;
        int r = pcap_next_ex(file->pcap, &header, &bytes);
        if (r != 1) {
            file->pending = note_end(file, r);
            break;
        }
        Frame frame = {
            .bytes = bytes,
            /* at this precision tv_usec counts nanoseconds */
            .time_ns = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec,
            .captured_bytes = header->caplen,
            .wire_bytes = header->len < header->caplen ? header->caplen : header->len,
            .link_type = link_type,
        };
        if (!passes(file, &frame))
            continue;
        memcpy(file->bytes + used, bytes, frame.captured_bytes);
        frame.bytes = file->bytes + used;
        frames[n++] = frame;
        used += frame.captured_bytes;
    }
    return n;
}

static int pcapfile_read(Capture *capture, Frame *frames, size_t max, size_t *np,
                         unsigned timeout_ms, Reason *reason) {
    PcapFile *file = capture->state;
    *np = 0;
    const size_t n = file->own ? read_own(file, frames, max)
                               : read_libpcap(file, frames, max, timeout_ms, capture->link_type);
    if (n == 0 && file->pending) {
        if (file->pending == CAPTURE_E_BROKEN)
            reason_set(reason, "-i %s %s; the packets before it are metered (%s)", file->input,
                       file->truncated ? "ends in the middle of a packet"
                                       : "cannot be read to its end",
                       file->why);
        return file->pending;
    }
    *np = n;
    return 0;
}

static void pcapfile_stats(Capture *capture, CaptureStats *stats) {
    const PcapFile *file = capture->state;
    *stats = (CaptureStats){.truncated = file->truncated};
}

static int pcapfile_filter(Capture *capture, const char *filter, Reason *reason) {
    return error_trace(set_filter(capture->state, filter, reason));
}

const CaptureBackend capture_pcapfile = {
    .name = "pcapfile",
    .open = pcapfile_open,
    .close = pcapfile_close,
    .read = pcapfile_read,
    .stats = pcapfile_stats,
    .filter = pcapfile_filter,
};
