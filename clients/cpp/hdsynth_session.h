// A stream of frames to a hdsynth server and of photographs back, for the loop of a game engine.
//
// Stands on the stubs that protoc and grpc_cpp_plugin write (see README.md). C++17, no other
// dependencies. send() and take() return at once and may be called from any thread.

#pragma once

#include <cstdint>
#include <deque>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <grpcpp/grpcpp.h>

#include "hdsynth/v1/synthesis.grpc.pb.h"

namespace hdsynth {

// Makes a map of raw rows, from top to bottom and without padding; little-endian elements.
inline v1::Map raw_map(const void* data, std::size_t bytes, std::uint32_t width,
                       std::uint32_t height, v1::ElementType type) {
    v1::Map map;
    map.set_encoding(v1::MAP_ENCODING_RAW);
    map.set_element_type(type);
    map.set_width(width);
    map.set_height(height);
    map.set_data(data, bytes);
    return map;
}

// An open stream. A frame that could not leave yet gives way to a newer one. Every frame is
// answered by one message, a result or a drop notice, unless the stream breaks off; a notice of
// the server may span ids of frames that never left, which were announced before.
class Session {
public:
    using Request = v1::SynthesizeStreamRequest;
    using Response = v1::SynthesizeStreamResponse;

    // Opens a stream on the caller's channel; `config` asks for LATEST_ONLY delivery. `key` is an
    // API key, or empty.
    Session(const std::shared_ptr<grpc::Channel>& channel, const v1::StreamConfig& config,
            const std::string& key = {})
        : stub_(v1::SynthesisService::NewStub(channel)) {
        if (!key.empty()) context_.AddMetadata("x-api-key", key);
        stream_ = stub_->SynthesizeStream(&context_);
        Request first;
        *first.mutable_config() = config;
        controls_.push_back(std::move(first));
        writer_ = std::thread([this] { write(); });
        reader_ = std::thread([this] { read(); });
    }

    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Gives up what is on its way.
    ~Session() {
        context_.TryCancel();
        {
            std::lock_guard<std::mutex> lock(mutex_);
            is_over_ = true;
        }
        changed_.notify_all();
        writer_.join();
        reader_.join();
    }

    // Hands in a frame, which the session numbers; returns its id. Give whole maps, not tiles: the
    // session may drop a frame that the next one's tiles would build on.
    std::uint64_t send(v1::Frame frame) {
        std::lock_guard<std::mutex> lock(mutex_);
        frame.set_frame_id(next_id_++);
        if (waiting_) {
            frame.set_scene_cut(frame.scene_cut() || waiting_->scene_cut());
            Response notice;
            notice.mutable_dropped()->set_first_frame_id(waiting_->frame_id());
            notice.mutable_dropped()->set_last_frame_id(waiting_->frame_id());
            notice.mutable_dropped()->set_reason(v1::DROP_REASON_SUPERSEDED);
            incoming_.push_back(std::move(notice));
        }
        waiting_ = std::move(frame);
        changed_.notify_all();
        return waiting_->frame_id();
    }

    // Replaces the stream's styles from the next frame on.
    void restyle(const v1::Styles& styles) {
        Request request;
        *request.mutable_styles() = styles;
        control(std::move(request));
    }

    // Takes the next message if there is one, and acknowledges a result.
    std::optional<Response> take() {
        std::optional<Response> message;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (incoming_.empty()) return message;
            message = std::move(incoming_.front());
            incoming_.pop_front();
        }
        if (message->has_result()) {
            Request ack;
            ack.mutable_ack()->set_frame_id(message->result().frame_id());
            control(std::move(ack));
        }
        return message;
    }

    // Sends no more frames; messages come until all have been answered.
    void end() {
        std::lock_guard<std::mutex> lock(mutex_);
        has_ended_ = true;
        changed_.notify_all();
    }

    // Whether the server is about to stop: open a session to another one.
    bool is_sent_away() const {
        std::lock_guard<std::mutex> lock(mutex_);
        return is_sent_away_;
    }

    // How the stream has ended; nothing while it lives.
    std::optional<grpc::Status> status() const {
        std::lock_guard<std::mutex> lock(mutex_);
        return status_;
    }

private:
    // Frames on their way at once: a slow network would fill up with old ones.
    static constexpr std::size_t kMostUnanswered = 8;

    void control(Request request) {
        std::lock_guard<std::mutex> lock(mutex_);
        controls_.push_back(std::move(request));
        changed_.notify_all();
    }

    bool may_leave() const {
        return waiting_ && !is_sent_away_ && unanswered_.size() < kMostUnanswered;
    }

    std::optional<Request> next() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] {
            return is_over_ || !controls_.empty() || may_leave() || (has_ended_ && !waiting_);
        });
        std::optional<Request> request;
        if (is_over_) return request;
        if (!controls_.empty()) {
            request = std::move(controls_.front());
            controls_.pop_front();
        } else if (may_leave()) {
            unanswered_.insert(waiting_->frame_id());
            request.emplace();
            *request->mutable_frame() = std::move(*waiting_);
            waiting_.reset();
        }
        return request;
    }

    void write() {
        while (std::optional<Request> request = next()) {
            if (!stream_->Write(*request)) return;
        }
        stream_->WritesDone();
    }

    void read() {
        Response message;
        while (stream_->Read(&message)) {
            std::lock_guard<std::mutex> lock(mutex_);
            if (message.has_result()) {
                unanswered_.erase(message.result().frame_id());
            } else if (message.has_dropped()) {
                const v1::FrameDropped& drop = message.dropped();
                unanswered_.erase(unanswered_.lower_bound(drop.first_frame_id()),
                                  unanswered_.upper_bound(drop.last_frame_id()));
            } else if (message.has_go_away()) {
                is_sent_away_ = true;
            }
            if (!message.has_heartbeat()) incoming_.push_back(std::move(message));
            changed_.notify_all();
        }
        grpc::Status status = stream_->Finish();
        std::lock_guard<std::mutex> lock(mutex_);
        status_ = std::move(status);
        is_over_ = true;
        changed_.notify_all();
    }

    grpc::ClientContext context_;
    std::unique_ptr<v1::SynthesisService::Stub> stub_;
    std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Request> controls_;
    std::deque<Response> incoming_;
    std::optional<v1::Frame> waiting_;
    std::set<std::uint64_t> unanswered_;
    std::optional<grpc::Status> status_;
    std::uint64_t next_id_ = 0;
    bool has_ended_ = false;
    bool is_over_ = false;
    bool is_sent_away_ = false;
    std::thread writer_;
    std::thread reader_;
};

}  // namespace hdsynth
