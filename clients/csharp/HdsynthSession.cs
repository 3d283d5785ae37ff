using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Google.Protobuf;
using Grpc.Core;
using Hdsynth.V1;

namespace Hdsynth
{
    /// <summary>
    /// A stream of frames to a server and of photographs back, for the loop of a game engine.
    /// Send and TryTake return at once and may be called from any thread, once per picture.
    /// A frame that could not leave yet gives way to a newer one. Every frame is answered by one
    /// message, a result or a drop notice, unless the stream breaks off. A notice of the server may
    /// span ids of frames that never left, which were announced before.
    /// </summary>
    public sealed class HdsynthSession : IDisposable
    {
        /// <summary>Frames on their way at once: a slow network would fill up with old ones.</summary>
        const int MostUnanswered = 8;

        readonly AsyncDuplexStreamingCall<SynthesizeStreamRequest, SynthesizeStreamResponse> call;
        readonly ConcurrentQueue<SynthesizeStreamRequest> controls =
            new ConcurrentQueue<SynthesizeStreamRequest>();
        readonly ConcurrentQueue<SynthesizeStreamResponse> incoming =
            new ConcurrentQueue<SynthesizeStreamResponse>();
        readonly SemaphoreSlim changed = new SemaphoreSlim(0);
        readonly CancellationTokenSource closing = new CancellationTokenSource();
        readonly object sync = new object();
        Frame waiting;
        ulong nextId;
        readonly SortedSet<ulong> unanswered = new SortedSet<ulong>();
        bool isSentAway;
        bool hasEnded;

        /// <summary>Opens a stream; <paramref name="config"/> is sent as its first message.</summary>
        /// <param name="client">The generated client, on a channel of the caller's.</param>
        /// <param name="config">What holds for the whole stream; LatestOnly delivery.</param>
        /// <param name="key">API key, or null.</param>
        public HdsynthSession(
            SynthesisService.SynthesisServiceClient client, StreamConfig config, string key = null)
        {
            var headers = new Metadata();
            if (!string.IsNullOrEmpty(key))
            {
                headers.Add("x-api-key", key);
            }
            call = client.SynthesizeStream(headers, cancellationToken: closing.Token);
            controls.Enqueue(new SynthesizeStreamRequest { Config = config });
            changed.Release();
            Completion = Task.WhenAll(Task.Run(WriteAsync), Task.Run(ReadAsync));
        }

        /// <summary>Ends when the stream has ended; faulted with RpcException if it broke off.</summary>
        public Task Completion { get; }

        /// <summary>Whether the server is about to stop: open a session to another one.</summary>
        public bool IsSentAway
        {
            get { lock (sync) { return isSentAway; } }
        }

        /// <summary>Hands in a frame, which the session numbers; returns its id.</summary>
        /// <remarks>The frame must not be changed afterwards. Give whole maps, not tiles: the
        /// session may drop a frame that the next one's tiles would build on.</remarks>
        public ulong Send(Frame frame)
        {
            lock (sync)
            {
                if (hasEnded)
                {
                    throw new InvalidOperationException("no frame can be sent after End()");
                }
                frame.FrameId = nextId++;
                if (waiting != null)
                {
                    frame.SceneCut |= waiting.SceneCut;
                    incoming.Enqueue(Superseded(waiting.FrameId));
                }
                waiting = frame;
            }
            changed.Release();
            return frame.FrameId;
        }

        /// <summary>Replaces the stream's styles from the next frame on.</summary>
        public void Restyle(Styles styles)
        {
            controls.Enqueue(new SynthesizeStreamRequest { Styles = styles });
            changed.Release();
        }

        /// <summary>Takes the next message if there is one, and acknowledges a result.</summary>
        public bool TryTake(out SynthesizeStreamResponse message)
        {
            if (!incoming.TryDequeue(out message))
            {
                return false;
            }
            if (message.MessageCase == SynthesizeStreamResponse.MessageOneofCase.Result)
            {
                var ack = new Ack { FrameId = message.Result.FrameId };
                controls.Enqueue(new SynthesizeStreamRequest { Ack = ack });
                changed.Release();
            }
            return true;
        }

        /// <summary>Sends no more frames; messages come until all have been answered.</summary>
        public void End()
        {
            lock (sync) { hasEnded = true; }
            changed.Release();
        }

        /// <summary>Gives up what is on its way and closes the stream.</summary>
        public void Dispose()
        {
            closing.Cancel();
            call.Dispose();
        }

        /// <summary>Makes a map of raw rows, from top to bottom and without padding.</summary>
        /// <param name="data">Little-endian elements; copied.</param>
        public static Map RawMap(byte[] data, int width, int height, ElementType type)
        {
            return new Map
            {
                Encoding = MapEncoding.Raw,
                ElementType = type,
                Width = (uint)width,
                Height = (uint)height,
                Data = ByteString.CopyFrom(data),
            };
        }

        async Task WriteAsync()
        {
            while (true)
            {
                await changed.WaitAsync(closing.Token).ConfigureAwait(false);
                SynthesizeStreamRequest request;
                while ((request = Next()) != null)
                {
                    await call.RequestStream.WriteAsync(request).ConfigureAwait(false);
                }
                lock (sync)
                {
                    if (hasEnded && waiting == null && controls.IsEmpty)
                    {
                        break;
                    }
                }
            }
            await call.RequestStream.CompleteAsync().ConfigureAwait(false);
        }

        SynthesizeStreamRequest Next()
        {
            SynthesizeStreamRequest request;
            if (controls.TryDequeue(out request))
            {
                return request;
            }
            lock (sync)
            {
                if (waiting == null || isSentAway || unanswered.Count >= MostUnanswered)
                {
                    return null;
                }
                request = new SynthesizeStreamRequest { Frame = waiting };
                unanswered.Add(waiting.FrameId);
                waiting = null;
                return request;
            }
        }

        async Task ReadAsync()
        {
            while (await call.ResponseStream.MoveNext(closing.Token).ConfigureAwait(false))
            {
                var message = call.ResponseStream.Current;
                lock (sync)
                {
                    switch (message.MessageCase)
                    {
                        case SynthesizeStreamResponse.MessageOneofCase.Result:
                            unanswered.Remove(message.Result.FrameId);
                            break;
                        case SynthesizeStreamResponse.MessageOneofCase.Dropped:
                            var notice = message.Dropped;
                            unanswered.RemoveWhere(
                                id => id >= notice.FirstFrameId && id <= notice.LastFrameId);
                            break;
                        case SynthesizeStreamResponse.MessageOneofCase.GoAway:
                            isSentAway = true;
                            break;
                    }
                }
                if (message.MessageCase != SynthesizeStreamResponse.MessageOneofCase.Heartbeat)
                {
                    incoming.Enqueue(message);
                }
                changed.Release();
            }
        }

        static SynthesizeStreamResponse Superseded(ulong frameId)
        {
            var notice = new FrameDropped
            {
                FirstFrameId = frameId, LastFrameId = frameId, Reason = DropReason.Superseded,
            };
            return new SynthesizeStreamResponse { Dropped = notice };
        }
    }
}
